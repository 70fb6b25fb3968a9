"""A program as a checkpoint for Transformers: written beside its place, loaded, compared, and only then put there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.errors import PellucidError
from pellucid.base.files import passing_folder
from pellucid.base.tensors import save_tensors
from pellucid.corpus.packing import row_tokens
from pellucid.corpus.rows import sample_rows
from pellucid.engine.intervene import steer as steered
from pellucid.engine.trace import trace
from pellucid.exact.model import Model
from pellucid.rewrite.folding import Folded, folded
from pellucid.subject.load import Subject, load_subject
from pellucid.subject.tokenizer_files import GENERATION, TOKENIZER_FILES
from pellucid.verify.running import Running

if TYPE_CHECKING:
    from pellucid.project.project import Project

ROWS = 8
"""Rows of text that logits are compared on."""
LIMIT = 1e-3
"""How far logits may differ, as a share of the largest: beyond it a checkpoint is not the program."""
MORE_FILES = ("tokenizer.model", "vocab.txt", "chat_template.jinja")
"""Files of other tokenizers, which are copied as they are."""
Logits = Callable[[Int[Tensor, "one pos"]], Float[Tensor, "one pos vocab"]]


@dataclass(frozen=True)
class Exported:
    """A checkpoint that was written, and how its logits compare with the program's."""

    checkpoint: str
    """The directory that was written."""
    difference: float
    """The largest difference of a logit."""
    largest: float
    """The largest logit, without its sign."""
    positions: int
    """How many positions were compared."""
    tops: int
    """Positions at which the two say another token."""
    loaded_by: str
    """What the checkpoint was loaded with."""
    text: str
    """What they were compared on."""
    tied: bool
    """Whether the unembedding is the embedding still."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)

    @property
    def lines(self) -> str:
        """To read."""
        apart = "" if self.tied else "the unembedding is a table of its own now, since the embedding differs from it\n"
        return (
            f"{apart}logits of {self.checkpoint}, loaded by {self.loaded_by}, and of the program differ by at most "
            f"{self.difference:.2e} (the largest is {self.largest:.4g}); {self.tops} of {self.positions:,} top tokens "
            f"differ, on {self.text}"
        )


def export(project: Project, target: Path | str, steer: Mapping[str, Tensor | float] | None = None) -> Exported:
    """Write what the program in a directory computes as a checkpoint to `target`, which does not exist yet.

    `steer` are vectors to add everywhere, by the activation that they are added to (`L01.resid_post`). Raises
    `PellucidError` for what no weights do, and for a `target` with files in it; then nothing is written.
    """
    target, added = Path(target), dict(steer or {})
    _require_free(target)
    program = project.program()
    weights = folded(project.model, program, project.listing(), added)
    target.parent.mkdir(parents=True, exist_ok=True)
    with passing_folder(target.parent, f".{target.name}.") as folder:
        _write(project.subject, weights, folder)
        running = Running(project.model, program)

        def logits(ids: Int[Tensor, "one pos"]) -> Float[Tensor, "one pos vocab"]:
            if not added:
                return torch.from_numpy(np.asarray(program.logits(ids.numpy())))
            return trace(running, ids, changes=[steered(where, vector) for where, vector in added.items()]).logits

        found = _compared(project, folder, logits, str(target), tied=weights.tied)
        folder.chmod(0o755)
        if target.is_dir():
            target.rmdir()
        os.replace(folder, target)
    return found


def _require_free(target: Path) -> None:
    """Raise `PellucidError` where something lies at `target` already."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise PellucidError(f"{str(target)!r} is there already; name a directory that does not exist, with -o")


def _write(subject: Subject, found: Folded, folder: Path) -> None:
    """Write the files of a checkpoint."""
    for name in (*TOKENIZER_FILES, *MORE_FILES):
        if (subject.path / name).is_file():
            shutil.copyfile(subject.path / name, folder / name)
    fields = {k: v for k, v in subject.config_json.items() if k not in ("auto_map", "torch_dtype")}
    names, fields = subject.decoder.names, fields | subject.decoder.names.config(tied=found.tied)
    _write_json(folder / "config.json", fields)
    if not (folder / GENERATION).is_file():
        ends = {name: fields[name] for name in ("bos_token_id", "eos_token_id") if fields.get(name) is not None}
        _write_json(folder / GENERATION, ends)
    tensors = {names.prefixed(name): w.detach().float().cpu().contiguous() for name, w in found.weights.items()}
    save_tensors(folder / "model.safetensors", tensors, {"format": "pt"})


def _write_json(path: Path, fields: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(dict(fields), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


# --- compared ---------------------------------------------------------------------------------------------------------


def _compared(project: Project, folder: Path, logits: Logits, name: str, *, tied: bool) -> Exported:
    """Load the checkpoint in `folder`, and compare its logits with those of the program, a row at a time.

    Raises `PellucidError` where they differ by more than `LIMIT`.
    """
    theirs, loaded_by = _loaded(folder)
    rows, text = _rows(project)
    difference = largest = 0.0
    positions = tops = 0
    for ids in rows:
        mine, other = logits(ids), theirs(ids)
        difference = max(difference, float((mine - other).abs().max()))
        largest = max(largest, float(mine.abs().max()))
        positions += ids.shape[1]
        tops += int((mine.argmax(-1) != other.argmax(-1)).sum())
    if not difference <= LIMIT * max(1.0, largest):
        raise PellucidError(
            f"the checkpoint, loaded by {loaded_by}, differs from the program by {difference:.3g} in a logit, of which "
            f"the largest is {largest:.4g}; that is more than rounding, so nothing was written"
        )
    return Exported(name, difference, largest, positions, tops, loaded_by, text, tied)


def _loaded(folder: Path) -> tuple[Logits, str]:
    """The checkpoint in `folder` as Transformers runs it, or where that is not installed, as pellucid does."""
    if find_spec("transformers") is None:
        model = Model(load_subject(folder))
        return model.logits, "pellucid, since transformers is not installed"
    from transformers import AutoModelForCausalLM

    with _without_bars():
        theirs: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    theirs.eval()

    def logits(ids: Int[Tensor, "one pos"]) -> Float[Tensor, "one pos vocab"]:
        with torch.no_grad():
            found: Tensor = theirs(ids).logits
        return found

    return logits, f"transformers {version('transformers')}"


@contextmanager
def _without_bars() -> Iterator[None]:
    """Let Transformers load without progress bars."""
    logging: Any = import_module("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _rows(project: Project) -> tuple[list[Int[Tensor, "one pos"]], str]:
    """Rows to compare on, and what they are: held-out text, or where that is not to be had, random tokens."""
    model = project.model
    try:
        seed = project.manifest.settings.seed
        rows = sample_rows(project.texts.heldout, model.tokenizer, row_tokens(model), ROWS, seed)
        ids = [torch.from_numpy(row.tokens.astype(np.int64))[None] for row in rows]
        return ids, f"{len(ids)} rows of held-out text"
    except PellucidError:
        shape = (ROWS, 1, row_tokens(model))
        return list(torch.randint(model.n_vocab, shape, generator=torch.Generator().manual_seed(0))), "random tokens"
