"""Attention read from sources: how much perplexity grows where 25, 50 and 100 % of heads look where their source says.

    python benchmarks/attention_sources.py [--folder DIR] [--length 256] [--rows 4] [--own] [--json] [NAME ...]

Models are those of `benchmarks/real.py` (stories260k and smollm2 by default), text that of the seven domains of
`../shared/text/domains`: of each, rows to fit sources on, others to choose their terms by, and others to measure on.
With `--own` it is what the model itself writes at temperature 1, seven times as many rows. stories260k, which knows
stories for children alone, is a poor model of the seven domains: there perplexity can fall where heads look elsewhere.

A source is a few weighted terms over places and tokens (`stages/first/attention.py`); it gives the scores of its head,
and all else runs from the weights. Heads are taken in the order of what their source is estimated to cost on tune text,
cheapest first. `mean` is uniform attention in the same heads, `no sink` sources among which none has a sink term.
arXiv 2606.19317 reports +16 % with 25 % of the heads of its models.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import real

SHARES = (0.25, 0.5, 1.0)
SINKS = 0.5
"""Heads that put more than this share of their attention on the first token are counted."""


def measured(place: Path, length: int, rows: int, own: bool) -> dict[str, Any]:
    """What is measured of the model at `place`."""
    import pellucid
    from pellucid.forms.effect import estimate
    from pellucid.forms.forms import Looks, Sink
    from pellucid.stages.first.attention import propose_looks

    start, model = perf_counter(), pellucid.load(place)
    length = min(length, model.n_ctx)
    fit, tune, test = (own_texts if own else texts)(model, length, rows)
    found = propose_looks(model, fit, tune, pairs=fit.numel() * 8)
    forms = [proposal.chosen.form for proposal in found.values()]
    without = propose_looks(model, fit, tune, pairs=fit.numel() * 8, sinks=False)
    others = [proposal.chosen.form for proposal in without.values()]
    costs = estimate(model, tune, forms, others)
    order, other_order = (
        sorted(each, key=lambda form, of=of: of[form.address]) for each, of in zip((forms, others), costs, strict=True)
    )
    plain = loss(model, test)
    said: dict[str, Any] = {
        "heads": len(forms),
        "sinks": sum(1 for share in on_first(model, test) if share > SINKS),
        "with_sink_term": sum(1 for form in forms if any(isinstance(term, Sink) for term, _ in form.terms)),
        "explained": sorted(proposal.explained for proposal in found.values())[len(found) // 2],
        "length": length,
        "tokens": {"fit": fit.numel(), "tune": tune.numel(), "test": test.numel()},
        "perplexity": math.exp(plain),
        "increase": {},
    }
    for share in SHARES:
        number = round(share * len(order))
        chosen = order[:number]
        ways = {"sources": chosen, "mean": [Looks(form.address) for form in chosen], "no sink": other_order[:number]}
        said["increase"][str(share)] = {name: grown(model, test, way, plain) for name, way in ways.items()}
    said["seconds"] = perf_counter() - start
    return said


def texts(model: Any, length: int, rows: int) -> tuple[Any, Any, Any]:
    """Rows to fit on, to tune on and to measure on, as many of every domain; each opens as a text does."""
    import torch

    opening, parts = list(model.tokenizer.start), [list[list[int]](), list[list[int]](), list[list[int]]()]
    for path in sorted(real.DOMAINS.glob("*.txt")):
        room = length - len(opening)
        text = path.read_text(encoding="utf-8")[: 3 * rows * length * 8]
        ids = model.tokenizer.encode(text)
        pieces = [[*opening, *ids[at : at + room]] for at in range(0, len(ids) - room + 1, room)][: 3 * rows]
        for number, piece in enumerate(pieces):
            parts[number % 3].append(piece)
    fit, tune, test = (torch.tensor(part) for part in parts)
    return fit, tune, test


def own_texts(model: Any, length: int, rows: int) -> tuple[Any, Any, Any]:
    """The same of what the model itself writes at temperature 1."""
    import torch

    generator, count = torch.Generator().manual_seed(0), 3 * 7 * rows
    opening = list(model.tokenizer.start) or [0]
    ids, cache = torch.tensor([opening]).expand(count, -1), None
    new = ids
    for _ in range(length - len(opening)):
        logits, cache = model.extend(new.numpy(), cache, last_only=True)
        new = torch.multinomial(torch.from_numpy(logits[:, -1]).softmax(-1), 1, generator=generator)
        ids = torch.cat([ids, new], 1)
    return ids[0::3], ids[1::3], ids[2::3]


def loss(model: Any, rows: Any) -> float:
    """Mean cross-entropy of the next token, in nats; `model` is one, or a twin."""
    import torch

    total = 0.0
    with torch.inference_mode():
        for row in rows:
            logits = model.logits(row[None])[0, :-1]
            total += float(torch.nn.functional.cross_entropy(logits, row[1:], reduction="sum"))
    return total / (len(rows) * (rows.shape[1] - 1))


def grown(model: Any, rows: Any, forms: Sequence[Any], plain: float) -> float:
    """By what share perplexity grows where `forms` run, beside `plain` nats."""
    from pellucid.forms.twin import Twin

    return math.expm1(loss(Twin(model, forms), rows) - plain)


def on_first(model: Any, rows: Any) -> list[float]:
    """The share of its attention that each head puts on the first token, on average."""
    import torch

    layers, totals = range(model.decoder.layers), torch.zeros(model.decoder.layers, model.decoder.sizes.head)
    names = [f"L{layer:02d}.pattern" for layer in layers]
    with torch.inference_mode():
        for row in rows:
            found = model.run(row[None], tuple(names))
            totals += torch.stack([found[name][0, :, 1:, 0].mean(1) for name in names])
    return [float(value) / len(rows) for value in totals.flatten()]


def show(name: str, found: dict[str, Any]) -> None:
    """Print what was measured of a model."""
    if "skipped" in found:
        print(f"{name}: skipped: {found['skipped']}\n")
        return
    tokens = found["tokens"]
    print(f"{name}: {found['heads']} heads; {found['sinks']} put more than half on the first token")
    print(
        f"  {found['with_sink_term']} sources have a sink term; the median one explains {found['explained']:.0%} (KL)"
    )
    print(
        f"  rows of {found['length']}; {tokens['fit']:,} fit, {tokens['tune']:,} tune, {tokens['test']:,} test tokens"
    )
    print(f"  perplexity {found['perplexity']:.2f}; {found['seconds']:.0f} s")
    for share, ways in found["increase"].items():
        said = ", ".join(f"{way} {increase:+.1%}" for way, increase in ways.items())
        print(f"  {float(share):4.0%} of heads: {said}")
    print()


def main() -> None:
    """Measure the models that are named, or the usual two."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(real.MODELS)}")
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "pellucid" / "real")
    parser.add_argument("--length", type=int, default=256, help="tokens of a row (256)")
    parser.add_argument("--rows", type=int, default=4, help="rows of each domain and split (4)")
    parser.add_argument("--own", action="store_true", help="text that the model itself writes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if find_spec("gguf") is None:
        sys.path.append(str(real.installed(("gguf", "pyyaml"), options.folder)))
    rows: dict[str, dict[str, Any]] = {}
    for name in options.names or ("stories260k", "smollm2"):
        try:
            rows[name] = measured(real.MODELS[name](options.folder), options.length, options.rows, options.own)
        except real.NotHereError as reason:
            rows[name] = {"skipped": str(reason)}
        if not options.json:
            show(name, rows[name])
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
