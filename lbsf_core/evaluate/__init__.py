"""Evaluate: metrics with intervals, cross-validation by user, reports."""
