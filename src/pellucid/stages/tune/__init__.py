"""Tuning the vectors of lifted parts together, in rounds."""
