"""The names of array axes, as used in every jaxtyping shape of the package.

| name     | runs over                                                     |
|----------|---------------------------------------------------------------|
| `batch`  | rows that are computed together                               |
| `pos`    | positions of a row (`query` and `key` where two are needed)   |
| `vocab`  | tokens of the vocabulary                                      |
| `model`  | coordinates of the residual stream (d_model)                  |
| `head`   | heads of a layer                                              |
| `group`  | heads of keys and values that several heads of queries share  |
| `dim`    | coordinates inside a head (d_head)                            |
| `neuron` | neurons of a layer's MLP (d_mlp)                              |
"""

from __future__ import annotations

BATCH, POS, QUERY, KEY = "batch", "pos", "query", "key"
VOCAB, MODEL, HEAD, GROUP, DIM, NEURON = "vocab", "model", "head", "group", "dim", "neuron"
