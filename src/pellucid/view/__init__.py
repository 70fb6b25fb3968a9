"""Views of a decompilation for people: plain data in, self-contained pages out."""
