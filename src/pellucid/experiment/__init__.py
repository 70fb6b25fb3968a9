"""Measuring: corpora and their splits, predictors, and how far a program is from its subject."""
