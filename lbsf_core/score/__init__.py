"""Score: logits and calibrated probabilities of default."""
