"""Measuring a program against its subject on held-out text, as a whole and part by part."""
