"""Reading the safetensors files of a checkpoint: everything wrong with them is said at once, before anything is loaded.

Pickle files run code when they are loaded; they are refused, never opened.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pellucid.base.errors import SubjectError
from pellucid.family.blocks import Decoder
from pellucid.family.names import Names
from pellucid.family.settings import TIED
from pellucid.family.shapes import shapes

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
_HEADS = {
    *("v_head", "value_head", "reward_head", "score", "classifier", "qa_outputs", "multiple_choice_head", "summary"),
    *("ilql_heads", "frozen_head"),
}
"""Where classifiers, reward and value models keep what reads the final state beside the unembedding."""
_LISTED = 12


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a checkpoint as its file's header describes it."""

    file: Path
    name: str
    shape: tuple[int, ...]
    kind: str


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises `SubjectError` naming file, line and reason."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SubjectError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SubjectError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(fields, dict):
        raise SubjectError(f"{path} holds a JSON {type(fields).__name__}, expected an object")
    return fields


def refuse_pickle(path: Path) -> None:
    """Raise `SubjectError` with the way to convert the pickle checkpoint at `path`."""
    where = str(path.parent)
    raise SubjectError(
        f"{path} is a pickle checkpoint, which can run code when it is loaded; only safetensors are read. If you trust "
        f"it, convert it once: {conversion(where, where, tokenizer=False)}"
    )


def conversion(source: str, target: str, options: str = "", *, tokenizer: bool = True) -> str:
    """The shell command that writes the model `source` (a directory or hub name) as safetensors into `target`."""
    names = {"AutoModelForCausalLM": "M"} | ({"AutoTokenizer": "T"} if tokenizer else {})
    steps = [f"from transformers import {', '.join(f'{name} as {short}' for name, short in names.items())}"]
    steps += [f"{short}.from_pretrained({source!r}{options}).save_pretrained({target!r})" for short in names.values()]
    return f"python -c {shlex.quote('; '.join(steps))}"


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of the checkpoint in `directory`: one, or the shards that its index names.

    Raises `SubjectError` where there is none, saying what is there instead.
    """
    index = directory / INDEX
    if (directory / WEIGHTS).is_file():
        return [directory / WEIGHTS]
    if index.is_file():
        return _shards(index)
    pickles = [path for path in sorted(directory.iterdir()) if path.suffix in PICKLES]
    if pickles:
        refuse_pickle(pickles[0])
    others = [path.name for path in sorted(directory.glob("*.safetensors"))]
    found = f"; it has {', '.join(others)}: rename or index it" if others else ""
    raise SubjectError(f"{directory} has neither {WEIGHTS} nor {INDEX}{found}")


def _shards(index: Path) -> list[Path]:
    placed = read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise SubjectError(f"{index} has no weight_map from tensor names to files")
    names = sorted({str(name) for name in placed.values()})
    if foreign := [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]:
        raise SubjectError(f"{index} names {foreign[0]!r}, expected safetensors files beside it")
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise SubjectError(f"{index} names shards that are not there: {listing(missing)}")
    return [index.parent / name for name in names]


def read_weights(files: list[Path], decoder: Decoder) -> tuple[dict[str, Tensor], list[str]]:
    """The parameters of `decoder` from `files`, as contiguous float32 CPU tensors by canonical name; and notes.

    Raises `SubjectError` listing all tensors that are missing, unexpected, of a wrong shape, or not finite.
    """
    expected, table = shapes(decoder), decoder.embed
    stored, heads = _without_heads(_inventory(files, decoder.names))
    tied_copy = stored.pop(decoder.names.unembed, None) if decoder.tied else None
    if tied_copy is not None and table not in stored:
        stored[table], tied_copy = tied_copy, None  # the one table, kept under its other name
    check_shapes(stored, expected, files)
    weights = dict(_load(stored))
    if tied_copy is not None:
        _check_tied(tied_copy, table, weights[table])
    refuse_not_finite(weights, _where(files))
    kinds = sorted({_FLOATS[entry.kind] for entry in stored.values()} - {"float32"})
    notes = [f"the checkpoint's {' and '.join(kinds)} weights were converted to float32"] if kinds else []
    notes += [f"heads beside the one that says the next token are ignored: {listing(heads)}"] if heads else []
    return {name: weights[name] for name in expected}, notes


def _inventory(files: list[Path], names: Names) -> dict[str, StoredTensor]:
    """What the headers of `files` say, by canonical name, without the buffers that are no parameters."""
    found: dict[str, StoredTensor] = {}
    for file in files:
        with _opened(file) as handle:
            for name in handle.keys():  # noqa: SIM118 - a safetensors handle is not a mapping
                view = handle.get_slice(name)
                canonical = names.canonical(name)
                if canonical in found:
                    raise SubjectError(f"{file}: {name!r} is there twice, also as {found[canonical].name!r}")
                if canonical is not None:
                    found[canonical] = StoredTensor(file, name, tuple(view.get_shape()), str(view.get_dtype()))
    return found


def _without_heads(stored: dict[str, StoredTensor]) -> tuple[dict[str, StoredTensor], list[str]]:
    """What belongs to the language model, and the names of what belongs to heads beside its own."""
    heads = [name for name in stored if name.partition(".")[0] in _HEADS]
    return {name: entry for name, entry in stored.items() if name not in heads}, [stored[name].name for name in heads]


def check_shapes(stored: dict[str, StoredTensor], expected: dict[str, tuple[int, ...]], files: list[Path]) -> None:
    """Raise `SubjectError` for all tensors at once that are missing, unexpected, or of another shape or kind."""
    wrong = []
    if missing := [name for name in expected if name not in stored]:
        wrong.append(f"missing {listing(missing)}")
    if unexpected := [entry.name for name, entry in stored.items() if name not in expected]:
        wrong.append(f"unexpected {listing(unexpected)}")
    both = [(name, stored[name]) for name in expected if name in stored]
    if shapes := [
        f"{name} {list(e.shape)} not {list(expected[name])}" for name, e in both if e.shape != expected[name]
    ]:
        wrong.append(f"wrong shapes: {', '.join(shapes)}")
    if kinds := [f"{name} {entry.kind}" for name, entry in both if entry.kind not in _FLOATS]:
        wrong.append(f"not floating-point: {listing(kinds)}")
    if wrong:
        raise SubjectError(f"{_where(files)} does not fit its config: {'; '.join(wrong)}")


def refuse_not_finite(weights: dict[str, Tensor], where: str) -> None:
    """Raise `SubjectError` naming the tensors with NaN or infinity."""
    if broken := [name for name, tensor in weights.items() if not _finite(tensor)]:
        raise SubjectError(f"{where}: NaN or infinite numbers in {listing(broken)}")


def _check_tied(copy: StoredTensor, name: str, table: Tensor) -> None:
    if copy.shape != tuple(table.shape) or not torch.equal(dict(_load({"copy": copy}))["copy"], table):
        raise SubjectError(
            f"{copy.file}: {copy.name} differs from {name}, but config.json ties them; "
            f'set "{TIED}": false, or remove {copy.name}'
        )


def _load(stored: dict[str, StoredTensor]) -> Iterator[tuple[str, Tensor]]:
    """The tensors, the largest first, each in memory of its own and so aligned as PyTorch aligns it.

    A file is opened anew for each: what was read of it stays in memory as long as it is open.
    """
    for name, entry in sorted(stored.items(), key=lambda item: -math.prod(item[1].shape)):
        with _opened(entry.file) as handle:
            tensor = handle.get_tensor(entry.name).to(torch.float32, copy=True).contiguous()
        yield name, tensor


def _finite(tensor: Tensor) -> bool:
    """Whether there is neither NaN nor infinity in `tensor`; the extremes carry both, and take no memory."""
    return all(map(math.isfinite, torch.aminmax(tensor))) if tensor.numel() else True


def _opened(file: Path) -> Any:
    try:
        return safe_open(str(file), framework="pt")
    except (SafetensorError, OSError) as error:
        size = file.stat().st_size
        said = f"{file} ({size:,} bytes) is truncated or not a safetensors file: {error}"
        raise SubjectError(f"{said}; fetch or save it again") from error


def _where(files: list[Path]) -> str:
    return str(files[0]) if len(files) == 1 else f"{files[0].parent} ({len(files)} shards)"


def listing(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
