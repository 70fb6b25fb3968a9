"""Accounts: ordinary short programs for what a language model does, found from text and model alone, and metered."""
