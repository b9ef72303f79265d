"""Fold: payments grouped by merchant, on disk (store) and in memory (batch)."""
