"""Reading text with a student that is still being fitted, layer by layer: what its earlier layers did is kept."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.exact.graph import Edit
from pellucid.measure.record import batches
from pellucid.stages.understand.student import Student, StudentReading, edits, reach


class ReadingSweep:
    """Readings of `rows` and the stream in each, as far as layers have been gone through.

    Layers are gone through in order, each first by `attend` and then by `fire`, once what they run by is fitted. What
    heads saw and neurons fired that no later value may ask for is forgotten.
    """

    def __init__(self, student: Student, rows: Int[Tensor, "row pos"]) -> None:
        self.student = student
        ids = (batch.to(student.model.device) for batch in batches(rows, student.model.n_vocab))
        self.readings = [StudentReading(student, batch) for batch in ids]
        self.streams: list[Tensor | None] = [None] * len(self.readings)

    @torch.no_grad()
    def attend(self, layer: int) -> None:
        """Let the heads of a layer look and move."""
        at = f"L{layer:02d}"
        for number, reading in enumerate(self.readings):
            asked = edits(reading, [layer])
            asked.pop(f"{at}.resid_pre", None)  # its scale is known since the layer before has fired
            own = {name: edit for name, edit in asked.items() if not name.endswith((".pre", ".post"))}
            self._go(number, f"{at}.resid_pre", f"{at}.resid_mid", own)
            del reading.patterns[layer]
            for held in (reading.seen, reading.fired):  # late values of the layer before have been summed by now
                for old in [n for n in held if n not in reach(layer)]:
                    del held[old]

    @torch.no_grad()
    def fire(self, layer: int) -> None:
        """Let the neurons of a layer fire, up to the norm in front of the next layer's heads."""
        at, after = f"L{layer:02d}", f"L{layer + 1:02d}"
        for number, reading in enumerate(self.readings):
            asked = edits(reading, [layer])
            own = {name: asked[name] for name in (f"{at}.pre", f"{at}.post")}
            own[f"{after}.resid_pre"] = partial(reading.scale, f"{after}.LN1")
            self._go(number, f"{at}.resid_mid", f"{after}.resid_pre", own)

    def _go(self, number: int, start: str, end: str, own: dict[str, Edit]) -> None:
        """Run one batch from one place in the stream to another."""
        stream, reading = self.streams[number], self.readings[number]
        given = {} if stream is None else {start: stream}
        self.streams[number] = self.student.engine.run(reading.ids, (end,), given, own)[end]

    def behind(
        self, layer: int, norm: str, wanted: Float[Tensor, "row pos direction"]
    ) -> Iterator[tuple[Float[Tensor, "token term"], Float[Tensor, "token direction"]]]:
        """What values of a layer may sum, divided as the norm does, and what they should say, by batches of tokens."""
        first = 0
        for reading in self.readings:
            pieces = [*reading.terms(layer), *(reading.fired[n] for n in fired_by(layer, norm))]
            terms = torch.cat(pieces, -1) / reading.scales[norm]
            yield terms.flatten(0, 1), wanted[first : first + len(reading.ids)].flatten(0, 1)
            first += len(reading.ids)


def fired_by(layer: int, norm: str) -> range:
    """The layers whose neurons have fired when values of a layer are read behind a norm."""
    return reach(layer) if norm.endswith("LN1") else reach(layer)[:-1]
