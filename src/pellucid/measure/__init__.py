"""Measuring: predictors side by side, how far a program is from its subject, and how sure that is."""
