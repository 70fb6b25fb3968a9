"""A model in memory, of Transformers: its parameters are copied, so what happens to it later changes nothing here.

Transformers is not imported: whoever has such a model has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.base.errors import SubjectError
from pellucid.family.blocks import Decoder
from pellucid.family.known import decoder_of
from pellucid.family.shapes import shapes
from pellucid.subject.byte_pairs import WHOLE
from pellucid.subject.checkpoint import listing, refuse_not_finite
from pellucid.subject.given import Save, given_tokenizer
from pellucid.subject.load import Parts, Subject, made_of
from pellucid.subject.tokenizer_files import GENERATION

_ADAPTED = ("lora_", ".base_layer.", ".original_module", "modules_to_save", "prompt_encoder", "adapter")
"""What parameters of adapters are called."""
_KNOWN = ("transformers.", "torch.")
_SAVE = "save it, model.save_pretrained('DIR') and tokenizer.save_pretrained('DIR'), and load 'DIR'"


def is_live(subject: object) -> bool:
    """Whether `subject` is a model in memory, with a config and parameters."""
    return isinstance(subject, nn.Module) and hasattr(getattr(subject, "config", None), "to_json_string")


def live_subject(model: Any, tokenizer: Any = None, *, ids: bool = False) -> Subject:
    """The subject that a model of Transformers is now, in float32 on the CPU; text is token ids without a `tokenizer`.

    Raises `SubjectError` for adapters, hooks and modules that make it another function, for parameters without numbers,
    and for all that `load_subject` refuses.
    """
    name = f"{getattr(model, 'name_or_path', '') or type(model).__name__} in memory"
    _refuse_changed(model, name)
    fields = json.loads(model.config.to_json_string())
    decoder = decoder_of(fields, name)
    weights = dict(_copied(_parameters(model, decoder, name), decoder, name))
    refuse_not_finite(weights, name)
    notes = tuple(_notes(model, tokenizer))
    unread = ids or tokenizer is None
    found = given_tokenizer(_saving(model, tokenizer, name), name, fields, decoder.sizes.vocab, ids=unread)
    return made_of(Parts(fields, decoder, weights, _sha256(weights), found, notes), name, Path(), "")


def _refuse_changed(model: nn.Module, name: str) -> None:
    """Raise for everything that makes the model another function than its config and parameters say."""
    if adapted := [own for own, _ in model.named_parameters() if any(part in f".{own}" for part in _ADAPTED)]:
        raise SubjectError(
            f"{name} has adapters ({listing(adapted[:3])}); merge them first, model = model.merge_and_unload()"
        )
    modules = [(own or "the model", module) for own, module in model.named_modules()]
    hooked = [own for own, module in modules if any(not _is_own(hook) for hook in _hooks(module))]
    if hooked:
        raise SubjectError(f"{name} has hooks, which would not run here: {listing(hooked)}; remove them first")
    foreign = [f"{own} ({type(module).__name__})" for own, module in modules if not _is_known(module)]
    if foreign:
        raise SubjectError(f"{name} has modules that are not Transformers' own: {listing(foreign)}")


def _hooks(module: nn.Module) -> list[Any]:
    return [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]


def _is_own(hook: Any) -> bool:
    """Whether a hook is Transformers', which records outputs or serves training and leaves what comes out as it is."""
    return str(getattr(hook, "__module__", "")).startswith("transformers.")


def _is_known(module: nn.Module) -> bool:
    own = type(module).__module__.startswith(_KNOWN) and "forward" not in vars(module)
    return own and not type(module).__module__.startswith("torch.nn.utils.parametrize")


def _parameters(model: nn.Module, decoder: Decoder, name: str) -> dict[str, Tensor]:
    """The parameters by canonical name, as they are in the model."""
    found: dict[str, Tensor] = {}
    for own, tensor in model.state_dict(keep_vars=True).items():
        canonical = decoder.names.canonical(own)
        if canonical is not None:
            found[canonical] = tensor
    copy = found.pop(decoder.names.unembed, None) if decoder.tied else None
    if copy is not None and copy is not found.get(decoder.embed):
        table = found.get(decoder.embed)
        if table is None or copy.shape != table.shape or not torch.equal(copy.cpu(), table.cpu()):
            raise SubjectError(
                f"{name}: {decoder.names.unembed} differs from {decoder.embed}, but its config ties them"
            )
    return found


def _copied(found: dict[str, Tensor], decoder: Decoder, name: str) -> Iterator[tuple[str, Tensor]]:
    """The parameters in float32 on the CPU, in memory of their own."""
    expected = shapes(decoder)
    wrong = [f"missing {at}" for at in expected if at not in found]
    wrong += [f"unexpected {at}" for at in found if at not in expected]
    both = [(at, found[at]) for at in expected if at in found]
    wrong += [f"{at} {list(t.shape)} not {list(expected[at])}" for at, t in both if tuple(t.shape) != expected[at]]
    wrong += [f"{at} is {t.dtype}, no floating-point number" for at, t in both if not t.is_floating_point()]
    wrong += [f"{at} is on the device meta, without numbers" for at, t in both if t.is_meta]
    if wrong:
        raise SubjectError(f"{name} does not fit its config: {listing(wrong)}; {_SAVE}")
    for at, tensor in both:
        yield at, tensor.detach().to("cpu", torch.float32, copy=True).contiguous()


def _notes(model: Any, tokenizer: Any) -> Iterator[str]:
    yield "its parameters were copied from memory; what happens to that model now changes nothing here"
    if model.training:
        yield "the model was in training mode; it is run as in evaluation, without dropout"
    kinds = {str(tensor.dtype).removeprefix("torch.") for tensor in model.parameters()} - {"float32"}
    if kinds:
        yield f"the model's {' and '.join(sorted(kinds))} weights were converted to float32"
    devices = {str(tensor.device) for tensor in model.parameters()} - {"cpu"}
    if devices:
        yield f"the model's weights were copied from {', '.join(sorted(devices))}"
    if tokenizer is None:
        yield "no tokenizer was given: text is token ids, such as '5 17 3'; pellucid.load(model, tokenizer) reads text"


def _saving(model: Any, tokenizer: Any, name: str) -> Save:
    """What writes the files of the tokenizer, and where the model stops talking."""

    def save(directory: Path) -> None:
        if hasattr(tokenizer, "save_pretrained"):
            tokenizer.save_pretrained(str(directory))
        elif hasattr(tokenizer, "save"):
            tokenizer.save(str(directory / WHOLE))
        elif tokenizer is not None:
            raise SubjectError(f"{name} was given a tokenizer that is a {type(tokenizer).__name__}, not Transformers'")
        stops = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
        if stops is not None:
            (directory / GENERATION).write_text(json.dumps({"eos_token_id": stops}), encoding="utf-8")

    return save


def _sha256(weights: dict[str, Tensor]) -> str:
    """The SHA-256 of names, shapes and numbers."""
    found = sha256()
    for name, tensor in sorted(weights.items()):
        found.update(f"{name} {list(tensor.shape)}\n".encode())
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()
