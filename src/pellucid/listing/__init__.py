"""The program: what is emitted, and how it is written, read back, counted and run.

Copied as they are into every `DIR/program/`, and importing nothing but NumPy and the standard library:
`prelude.py` (the language), `runtime.py` (weights, cache, arithmetic), `parts.py` (what each part runs),
`model.py` (the forward pass; its `CONFIG` is filled in), `vocabulary.py` and `main.py` (as `__main__.py`).

The tools: `emit.py` writes a program, `parse.py` reads and edits one as text, `count.py` says how many numbers its
sources hold, `load.py` runs one.
"""
