"""Evaluation: what a model is worth: metrics with intervals, baselines, details, warnings and the report."""
