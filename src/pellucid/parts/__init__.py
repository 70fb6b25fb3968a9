"""The partition of a subject into parts."""
