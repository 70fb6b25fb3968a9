"""The program as text.

`emit.py` writes one, `parse.py` reads and edits it, `count.py` says how many numbers its sources hold, and
`load.py` runs one.
"""
