"""A decompiler for trained transformers: from checkpoint to readable, runnable, verified Python."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from pellucid.accounts.table import table as table
    from pellucid.base.errors import PellucidError as PellucidError
    from pellucid.engine.chat import chat as chat
    from pellucid.engine.generate import generate as generate
    from pellucid.engine.intervene import ablate as ablate
    from pellucid.engine.intervene import means as means
    from pellucid.engine.intervene import patch as patch
    from pellucid.engine.intervene import replace as replace
    from pellucid.engine.intervene import steer as steer
    from pellucid.engine.metrics import logit_difference as logit_difference
    from pellucid.engine.paths import path_patch as path_patch
    from pellucid.engine.sweep import sweep as sweep
    from pellucid.engine.tasks import read_task as read_task
    from pellucid.engine.trace import trace as trace
    from pellucid.exact.model import Model
    from pellucid.opened import OpenedProject
    from pellucid.study.attribute import agreement as agreement
    from pellucid.study.attribute import completeness as completeness
    from pellucid.study.attribute import edge_attribution as edge_attribution
    from pellucid.study.attribute import estimate as estimate
    from pellucid.study.circuits import faithfulness_curve as faithfulness_curve
    from pellucid.study.circuits import find_circuit as find_circuit
    from pellucid.study.circuits import judge as judge
    from pellucid.study.circuits import score_edges as score_edges
    from pellucid.study.heads import head_scores as head_scores
    from pellucid.study.probes import probe as probe
    from pellucid.study.readout import direct_effects as direct_effects
    from pellucid.study.readout import logit_lens as logit_lens
    from pellucid.study.why import why as why
    from pellucid.verify.running import open_subject as open_subject
    from pellucid.view.pictures import attention as attention
    from pellucid.view.pictures import graph as graph
    from pellucid.view.pictures import picture as picture


def load(
    subject: str | Path | Any,
    tokenizer: Any = None,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    revision: str | None = None,
    ids: bool = False,
) -> Model:
    """The exact model of a subject: a directory in Hugging Face layout, a GGUF file, a hub name, `zoo:NAME`, an object.

    It runs on `device` in `dtype` (`float32`, `float16`, `bfloat16`, `float64`); float32 on the CPU gives Hugging
    Face's bits. `revision` is a branch, tag or commit of a hub model. With `ids` its tokenizer is not read: its text is
    token ids, such as `464 3139 286`, as it is for tokenizers of other kinds.

    Args:
        subject: A directory in Hugging Face layout, a file such as `model.gguf`, a hub name such as `gpt2` or
            `OWNER/NAME`, `zoo:NAME`, or a model of Transformers that is in memory. Of that the parameters are copied as
            they are now.
        tokenizer: The tokenizer of a model in memory; without it, its text is token ids.
        dtype: `float32`, `float16`, `bfloat16` or `float64`; float32 on the CPU gives Hugging Face's bits.
        device: Where it runs: `cpu`, `cuda` or `cuda:1`.
        revision: Branch, tag or commit of a hub model; its newest version without one.
        ids: Leave the tokenizer unread: text is token ids, such as `464 3139 286`, as it is for tokenizers of other
            kinds.

    Returns:
        The model, with `logits`, `forward`, `generate`, `ids` and `writes`.

    Raises:
        SubjectError: What cannot be loaded: no such directory or model, a pickle, a config, tensor or tokenizer that is
            not understood; a model in memory with adapters, hooks or modules that Transformers does not have.
        PellucidError: Another dtype, or a device that is not there.
    """
    import torch

    from pellucid.base.errors import PellucidError
    from pellucid.exact.device import device_of
    from pellucid.exact.model import Model
    from pellucid.subject.live import is_live, live_subject
    from pellucid.subject.load import load_subject
    from pellucid.subject.locate import named

    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
    if dtype not in known:
        raise PellucidError(f"dtype is {dtype!r}, expected {', '.join(known)}")
    place = device_of(device)
    if is_live(subject):
        return Model(live_subject(subject, tokenizer, ids=ids), known[dtype], place)
    if tokenizer is not None:
        raise PellucidError("a tokenizer is given with a model that is in memory; of others it is read with the model")
    return Model(load_subject(named(subject), revision=revision, ids=ids), known[dtype], place)


def open(directory: str | Path, *, trust: bool = False) -> OpenedProject:
    """The project in `directory`, as `pellucid decompile` wrote it; `trust` lets a stranger's program run.

    Args:
        directory: A directory that `pellucid decompile` wrote.
        trust: Run its program although it was not made on this account, or has changed since.

    Returns:
        The project: its program, report, evidence, text and accounts.

    Raises:
        ProjectError: A directory that is none, is broken, or holds a program without weights.
    """
    from pellucid.opened import OpenedProject
    from pellucid.project.project import Project

    project = Project.open(directory, trust=trust)
    return OpenedProject(project.directory, project.manifest, granted=project.granted)


_VERBS = {
    "PellucidError": "pellucid.base.errors",
    **dict.fromkeys(("ablate", "means", "patch", "replace", "steer"), "pellucid.engine.intervene"),
    **dict.fromkeys(("direct_effects", "logit_lens"), "pellucid.study.readout"),
    **dict.fromkeys(("agreement", "completeness", "edge_attribution", "estimate"), "pellucid.study.attribute"),
    **dict.fromkeys(("faithfulness_curve", "find_circuit", "judge", "score_edges"), "pellucid.study.circuits"),
    "chat": "pellucid.engine.chat",
    "generate": "pellucid.engine.generate",
    "head_scores": "pellucid.study.heads",
    "logit_difference": "pellucid.engine.metrics",
    "path_patch": "pellucid.engine.paths",
    "probe": "pellucid.study.probes",
    "read_task": "pellucid.engine.tasks",
    "sweep": "pellucid.engine.sweep",
    "trace": "pellucid.engine.trace",
    "why": "pellucid.study.why",
    "table": "pellucid.accounts.table",
    "open_subject": "pellucid.verify.running",
    **dict.fromkeys(("attention", "graph", "picture"), "pellucid.view.pictures"),
}
"""The engine's verbs and the modules they live in, imported when first asked for."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _VERBS:
        raise AttributeError(f"module 'pellucid' has no attribute {name!r}")
    return getattr(import_module(_VERBS[name]), name)


def _version() -> str:
    """The version that is installed; reading it takes as long as all else that help needs."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pellucid")
    except PackageNotFoundError:
        return "0+unknown"


__all__ = ["__version__", "load", "open", *_VERBS]
