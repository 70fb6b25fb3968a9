"""Generating with changes made and activations recorded on the way.

Every position is computed once, with its changes: those of the prompt first, then token by token. So what is recorded
is what one run over the whole text would record with the same changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pellucid.base.axes import BATCH, KEY, POS, QUERY
from pellucid.engine.intervene import Change
from pellucid.engine.sites import axes, is_constant, listed, resolve
from pellucid.engine.subjects import Subject, Text, model_of
from pellucid.engine.trace import Trace, traced
from pellucid.engine.whole import Whole
from pellucid.exact.changed import Changed
from pellucid.exact.model import Model
from pellucid.exact.rows import Rows, Stretch
from pellucid.exact.writing import Continuation, Ended, Sampling, Until, write


@dataclass(frozen=True)
class Generated:
    """What was said behind a prompt: its text, its tokens, why it ended; and the trace of all, if any was recorded.

    The trace has the prompt's positions and those of what was said but for the last token, behind which nothing was
    computed. A score of a key behind its query is NaN where it was never computed.
    """

    prompt: str
    """The text that it went on from."""
    text: str
    """What was said behind the prompt, up to a `stop` string."""
    ids: tuple[int, ...] = field(repr=False)
    """The tokens that were said, without one that ends the text."""
    ended: Ended
    """Why it ended: `end` of the text, a `stop` string, all `tokens` that were asked for, or no more room in the
    `context`.
    """
    trace: Trace | None = field(default=None, repr=False)
    """What was recorded; None where nothing was."""

    def __str__(self) -> str:
        return self.prompt + self.text


def generate(
    subject: Subject,
    text: Text,
    tokens: int = 20,
    *,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    stop: Sequence[str] = (),
    changes: Iterable[Change] = (),
    record: Iterable[str] = (),
) -> list[Generated]:
    """What `subject` says behind each prompt of `text`: up to `tokens` tokens, its end, a `stop` string, no more room.

    The likeliest tokens at `temperature` 0, else drawn among the likeliest that hold `top_p` of the probability; row n
    draws from `seed` + n. Positions of `changes` are the prompt's: negative ones count from its end, and ranges without
    an end, or none, go on over what is said. What another run had is put into the prompt alone. `record` names what to
    record.

    Source: `top_p` is nucleus sampling (Holtzman et al., 2019, arXiv 1904.09751).

    Args:
        subject: A model or a running program: what `load` and `open_subject` give.
        text: Prompts: one text, several of any lengths, or token ids [batch, pos].
        tokens: How many tokens are said at most.
        temperature: 0 for the likeliest tokens, above 0 for drawn ones.
        top_p: Draw among the likeliest tokens that hold this share of the probability.
        seed: Row n draws from this plus n.
        stop: Texts before which it ends.
        changes: Changes of the prompt's positions: negative ones count from its end; ranges without an end, or none, go
            on over what is said. What another run had is put into the prompt alone.
        record: What to record, by names or patterns.

    Returns:
        For each prompt the text and ids that were said, why it ended, and what was recorded.

    Raises:
        PellucidError: Names that no site has, a temperature below 0, a `top_p` that is no share; a prompt that the
            subject cannot read: empty, longer than its context, or a word or id that it does not have.
    """
    model = model_of(subject)
    rows, made, names = model.rows(text), tuple(changes), listed(record)
    choice, until = Sampling(temperature, top_p, seed), Until(tokens, model.tokenizer.ends, stop)
    wanted = tuple(dict.fromkeys(site.activation for one in names for site in resolve(model, one)))
    found: dict[int, Generated] = {}
    for group in rows.groups:
        own = group.cut(rows.ids, (BATCH, POS))
        numbers = group.rows.tolist()
        batches = [[n] for n in range(len(own))] if wanted else [list(range(len(own)))]
        for batch in batches:
            writer = _Writer(subject, made, wanted, own[batch])
            for n, written in zip(batch, writer.write(choice, until, [numbers[n] for n in batch]), strict=True):
                found[numbers[n]] = writer.generated(written, own[n])
    return [found[number] for number in sorted(found)]


@dataclass
class _Writer:
    """Writes on behind prompts of one length, and keeps what is recorded."""

    subject: Subject
    changes: tuple[Change, ...]
    record: tuple[str, ...]
    ids: Tensor
    _parts: list[dict[str, Tensor]] = field(default_factory=list)

    def write(self, choice: Sampling, until: Until, numbers: Sequence[int]) -> list[Continuation]:
        """What is said behind each prompt."""
        model, length = model_of(self.subject), self.ids.shape[1]
        runner: Changed | Whole
        if isinstance(self.subject, Model):
            runner = Changed(model, self.changes, length, self.record, self._parts.append)
        else:
            runner = Whole(self.subject, self.changes, length)
        decode = model.tokenizer.decode
        return write(runner, self.ids.cpu().numpy(), choice, until, lambda _, said: decode(said), numbers)

    def generated(self, written: Continuation, prompt: Tensor) -> Generated:
        """What was said behind one prompt, with its trace."""
        model = model_of(self.subject)
        text = model.tokenizer.decode(prompt.tolist())
        whole = torch.cat([prompt, prompt.new_tensor(written.ids)])[None]
        whole = whole if written.ended == "end" or not written.ids else whole[:, :-1]
        return Generated(text, written.text, written.ids, written.ended, self._trace(whole, len(prompt)))

    def _trace(self, ids: Tensor, length: int) -> Trace | None:
        if not self.record:
            return None
        if self._parts:
            held = {name: _joined(name, [part[name] for part in self._parts]) for name in self.record}
            return Trace(model_of(self.subject), ids, held)
        stretch = Stretch(Rows(ids), 0, model_of(self.subject).n_ctx, length)
        return traced(self.subject, stretch, self.record, self.changes, logits=False)


def _joined(name: str, parts: list[Tensor]) -> Tensor:
    """An activation of all positions from those of the stretches that were computed one after the other."""
    kinds = axes(name)
    if is_constant(name) or (KEY in kinds and QUERY not in kinds):  # keys and values: the last stretch has them all
        return parts[-1]
    if KEY in kinds:
        at, longest = kinds.index(KEY), parts[-1].shape[kinds.index(KEY)]
        missing = 0.0 if name.endswith(".pattern") else torch.nan
        grown = [[*part.shape[:at], longest - part.shape[at], *part.shape[at + 1 :]] for part in parts]
        parts = [torch.cat([part, part.new_full(size, missing)], at) for part, size in zip(parts, grown, strict=True)]
    return torch.cat(parts, kinds.index(QUERY if QUERY in kinds else POS))
