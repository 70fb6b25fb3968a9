"""Accounts that are found: from text and what the model says about it, nothing else."""
