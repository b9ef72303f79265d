"""Explain: an additive tree over merchants, payments and fields, and where the model looked."""
