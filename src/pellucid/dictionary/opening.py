"""Opening a dictionary of any format, from a folder, a file or the Hugging Face hub; and writing it in one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from pellucid.base.errors import PellucidError
from pellucid.dictionary import file, published, saelens, sparsify
from pellucid.dictionary.dictionary import Dictionary

FORMATS: dict[str, Callable[[Dictionary, Path], Path]] = {
    "pellucid": file.write_dictionary,
    "saelens": saelens.write_saelens,
    "sparsify": sparsify.write_sparsify,
    "circuit-tracer": published.write_published,
}
"""What a dictionary can be written as."""
_HUB = re.compile(r"hub:([\w.-]+/[\w.-]+)(?:@([\w./-]+?))?(?:/([\w./=-]+))?")
_KINDS = ["*.safetensors", "*.npz", "*.json", "*.yaml"]


def open_dictionary(name: str | Path, reads: str | None = None, writes: str | None = None) -> Dictionary:
    """The dictionary in a folder or a file of any format that is understood, or on the hub.

    Args:
        name: A folder or file, or `hub:OWNER/NAME/FOLDER`.
        reads: Of published files without settings (Gemma Scope), the activation or hook that features read.
        writes: Of those, where they write; without it where they read.

    Raises:
        PellucidError: What is no dictionary, or is broken, or needs `reads`.
    """
    path = _located(str(name))
    if path.is_file():
        return published.read_published(path, reads, writes)
    if not path.is_dir():
        raise PellucidError(
            f"{name}: no such folder or file; a dictionary is a folder, a file, or hub:OWNER/NAME/FOLDER"
        )
    if (path / file.ABOUT).is_file():
        return file.read_own(path)
    if (path / saelens.WEIGHTS).is_file():
        return saelens.read_saelens(path)
    if (path / sparsify.WEIGHTS).is_file():
        return sparsify.read_sparsify(path)
    if (path / "W_enc_0.safetensors").is_file():
        return published.read_crosslayer(path)
    for alone in ("params.npz", "params.safetensors"):
        if (path / alone).is_file():
            return published.read_published(path / alone, reads, writes)
    inside = sorted(one.name for one in path.iterdir() if one.is_dir() or one.suffix in (".safetensors", ".npz"))
    more = f"; it holds {', '.join(inside[:5])}{', …' if len(inside) > 5 else ''}: name one of them" if inside else ""
    raise PellucidError(
        f"{path} is no dictionary: expected {file.ABOUT}, {saelens.WEIGHTS}, {sparsify.WEIGHTS}, params.npz or the "
        f"files of a cross-layer transcoder{more}"
    )


def _located(name: str) -> Path:
    """The folder or file that `name` means, fetched from the hub if it says so."""
    if not name.startswith("hub:"):
        return Path(os.path.expanduser(name))
    found = _HUB.fullmatch(name)
    if found is None or ".." in name:
        raise PellucidError(f"{name!r} names nothing on the hub; expected hub:OWNER/NAME or hub:OWNER/NAME/FOLDER")
    repository, revision, inside = found.groups()
    from huggingface_hub import snapshot_download

    kinds = _KINDS if inside is None else [f"{inside}/{kind}" for kind in _KINDS] + [inside]
    try:
        here = Path(snapshot_download(repository, revision=revision, allow_patterns=kinds))
    except Exception as error:  # the hub's client raises its own errors and those of its transport
        raise PellucidError(f"{name}: the hub did not give it ({str(error).splitlines()[0][:120]})") from error
    return here / inside if inside else here
