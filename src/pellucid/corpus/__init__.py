"""Text: reading it, splitting it, and drawing rows of it."""
