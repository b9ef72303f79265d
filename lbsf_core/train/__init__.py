"""Train: the split, the only loop, and the bundle that comes out."""
