"""What every emitted program is made of; these files are copied into `DIR/program/`.

They import nothing but NumPy and the standard library: `prelude.py` (the language), `runtime.py` (weights, cache,
arithmetic), `parts.py` (what each part runs), `model.py` (the forward pass; its `CONFIG` is filled in),
`vocabulary.py`, `cutting.py`, `values.py`, `wires.py`, `changes.py`, `idle.py` and `main.py` (as `__main__.py`).
"""
