"""Dictionaries: sparse features of what passes in a model, trained, read, written and scored."""
