"""The text of a program's files as emission first writes them."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pellucid.base.address import PartKind, Shape
from pellucid.family.blocks import Decoder
from pellucid.family.partition import PartForm as PartForm
from pellucid.family.partition import count
from pellucid.family.printed import PLAIN, Turns, features, fields_of
from pellucid.listing.statement import described_name, page_name
from pellucid.listing.templates import printed, with_activation
from pellucid.program.prelude import DESCRIBED
from pellucid.subject.patterns import ranges_of
from pellucid.subject.steps import Steps
from pellucid.subject.tokenizer import Added, Tokenizer

VERBATIM = {
    name: name
    for name in (
        "prelude.py",
        "runtime.py",
        "rotary.py",
        "parts.py",
        "values.py",
        "wires.py",
        "changes.py",
        "idle.py",
        "cutting.py",
        "vocabulary.py",
    )
} | {"main.py": "__main__.py"}
"""Files of `pellucid.program` that every program has, and what they are called there."""

_ONLY = {"rotary.py": "rotary", "wires.py": "plain"}
"""The files that not every program has, and what they are for."""
_RUN = 6
"""Consecutive neurons from which on a range is shorter to read than a list."""
_SECTIONS: dict[str, str] = {
    "EMB.TOK": "the residual stream begins as a vector for the token plus one for its position",
    "LNF": "after the last layer: norm, then logits",
    "LN1": "attention: every head looks somewhere (QK) and moves something from there (OV)",
    "LN2": "MLP: every neuron fires (IN) and then writes (OUT)",
}
_WITHOUT_POSITIONS = "the residual stream begins as a vector for the token; positions turn queries and keys"
_PARTS: dict[str, tuple[PartKind, ...]] = {
    "where heads look (QK)": ("QK", "K"),
    "what heads move (OV)": ("OV", "V"),
    "when neurons fire (IN)": ("IN",),
    "what neurons write (OUT)": ("OUT",),
    "embeddings": ("EMB.TOK", "EMB.POS", "UNEMB"),
    "norms and biases": ("LN1", "LN2", "LNF", "ATTN.B", "MLP.B", "QN", "KN", "ATTN.LN", "MLP.LN"),
}


def plain(text: str) -> str:
    """`text` without what could end a string, a docstring or a line, for names that come from strangers."""
    return "".join(c if c.isprintable() and c not in '\\"' else "?" for c in text)


def title_of(subject: str) -> str:
    """The name of a subject without the folders that lead to it."""
    return plain(subject).rstrip("/").rpartition("/")[2] or "the subject"


def keys(shape: Shape) -> list[str]:
    """The keys of an all-raw program: every address, and one for all neurons of a layer."""
    named = (f"L{a.layer:02d}.N*.{a.kind}" if a.kind in ("IN", "OUT") else str(a) for a in shape.addresses())
    return list(dict.fromkeys(named))


def raw(key: str) -> str:
    """The statement that a part runs raw."""
    return f'raw("{key}")'


def constants(key: str, values: dict[int, float]) -> str:
    """The statement that neurons are constant, several to a line."""
    entries = [f"{neuron}: {values[neuron]:.6g}" for neuron in sorted(values)]
    one = f'constants("{key}", {{{", ".join(entries)}}})'
    if len(one) <= 120:
        return one
    body = textwrap.fill(", ".join(entries) + ",", 112, break_long_words=False, break_on_hyphens=False)
    return f'constants(\n    "{key}",\n    {{\n{textwrap.indent(body, " " * 8)}\n    }},\n)  # fmt: skip'


def linear(key: str, bias: float, terms: Mapping[str, float]) -> str:
    """The statement that a neuron sums named values; those that have the same coefficient share it."""
    sharing: dict[str, list[str]] = {}
    for name, coefficient in terms.items():
        sharing.setdefault(f"{coefficient:.6g}", []).append(name)
    tables = [f"{coefficient}: ({', '.join(names)})" for coefficient, names in sharing.items() if len(names) > 1]
    entries = [f"{{{', '.join(tables)}}}"] if tables else []
    entries += [f"{names[0]}={coefficient}" for coefficient, names in sharing.items() if len(names) == 1]
    one = f'linear("{key}", {", ".join([f"{bias:.6g}", *entries])})'
    if len(one) <= 120:
        return one
    body = textwrap.fill(", ".join(entries) + ",", 112, initial_indent="    ", subsequent_indent="    ")
    return f'linear(\n    "{key}", {bias:.6g},\n{body}\n)  # fmt: skip'


def lifted(key: str, rank: int) -> str:
    """The statement that a head writes along `rank` directions alone, or its mean for 0."""
    return f'lifted("{key}", rank={rank})' if rank else f'mean("{key}")'


def channels(key: str, neurons: Iterable[int], rank: int) -> str:
    """The statement that neurons read along `rank` directions alone; long runs of neurons are written as ranges."""
    entries: list[str] = []
    for first, last in _runs(sorted(neurons)):
        whole = f"*range({first}, {last + 1})" if first else f"*range({last + 1})"
        entries += [whole] if last - first >= _RUN else [str(neuron) for neuron in range(first, last + 1)]
    listed = ", ".join(entries)
    one = f'channels("{key}", {listed}, rank={rank})'
    if len(one) <= 120:
        return one
    body = textwrap.fill(f"{listed},", 116, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return f'channels(\n    "{key}",\n{body}\n    rank={rank},\n)  # fmt: skip'


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of every run of consecutive numbers."""
    first = None
    for number, following in zip(numbers, [*numbers[1:], None], strict=True):
        first = number if first is None else first
        if following != number + 1:
            yield first, number
            first = None


def means(key: str, neurons: Iterable[int]) -> str:
    """The statement that neurons always write their means, several to a line."""
    listed = ", ".join(map(str, sorted(neurons)))
    one = f'means("{key}", {listed})'
    if len(one) <= 120:
        return one
    body = textwrap.fill(f"{listed},", 116, initial_indent="    ", subsequent_indent="    ")
    return f'means(\n    "{key}",\n{body}\n)  # fmt: skip'


def page(name: str, subject: str, decoder: Decoder) -> str:
    """An all-raw `embedding.py` or `layer_NN.py`."""
    lines = [docstring(name, subject, decoder, Counter(), 0, Counter()), "", "from .prelude import raw"]
    for key in (key for key in keys(decoder.addresses) if page_name(key) == name):
        kind = key.partition(".")[2] if page_name(key) != "embedding.py" else key
        if kind in _SECTIONS:
            said = _SECTIONS[kind] if kind != "EMB.TOK" or decoder.positions else _WITHOUT_POSITIONS
            lines += ["", f"# --- {said} ---", ""]
        elif kind in ("G00.K", "H00.QK", "ATTN.B", "N*.IN"):
            lines.append("")
        lines.append(raw(key))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def docstring(
    name: str,
    subject: str,
    decoder: Decoder,
    forms: Counter[tuple[PartKind, PartForm]],
    numbers: int,
    described: Counter[PartKind],
) -> str:
    """What a page says, as a module docstring: how many parts run raw, lifted, and from a source.

    `forms` counts the parts that do not run raw by kind and form, `described` those that have a source which does not
    run; `numbers` are those in the sources of this page.
    """
    layer = int(name[6:-3]) if name != "embedding.py" else -1
    own = [address for address in decoder.addresses.addresses() if address.layer == layer]
    sizes = decoder.sizes
    title = f"Layer {layer} of {title_of(subject)}: {sizes.head} heads of {sizes.dim} coordinates, then "
    title += f"{sizes.neuron} neurons." if layer >= 0 else ""
    if layer < 0:
        title = f"The two ends of {title_of(subject)}: {sizes.vocab:,} tokens and {sizes.pos:,} positions "
        title += f"in, {sizes.model} coordinates, logits out."
    lines = [
        f'"""{title}',
        "",
        f"{'what runs':28}{'raw':>8}{'lifted':>8}{'source':>8}{'described':>11}{'parameters':>13}",
    ]
    for label, kinds in _PARTS.items():
        if parts := [address for address in own if address.kind in kinds]:
            lifted, sources = (sum(forms[kind, form] for kind in kinds) for form in ("lifted", "source"))
            parameters = sum(count(part, decoder) for part in parts)
            left = len(parts) - lifted - sources
            told = sum(described[kind] for kind in kinds)
            lines.append(f"    {label:24}{left:8,}{lifted:8,}{sources:8,}{told:11,}{parameters:13,}")
    held = "Nothing here runs from a source." if forms else "Everything runs raw."
    if any(form == "source" for _, form in forms):
        held = f"Its sources hold {numbers:,} numbers."
    if described:
        held += f"\nWhat is `described`, in {described_name(name)}, does not run: it says what raw and lifted parts do."
    return "\n".join([*lines, "", f"{held}", '"""'])


def described(name: str, subject: str, about: Mapping[str, int], numbers: int, lifted: int = 0) -> str:
    """What the page `name` says, which holds descriptions of parts, as a module docstring.

    `about` counts what is described: "heads", "neurons" and so on; `numbers` are those in its sources, `lifted`
    says how many of the parts run lifted.
    """
    beside = f"layer_{name[len(DESCRIBED) : -3]}.py" if name != described_name("embedding.py") else "embedding.py"
    layer = f"Layer {int(name[len(DESCRIBED) : -3])}" if beside != "embedding.py" else "The two ends"
    told = [f"{many:,} {what if many > 1 else what[:-1]}" for what, many in about.items() if many]
    listed = " and ".join(filter(None, [", ".join(told[:-1]), *told[-1:]]))
    words = (
        "`about` says in words what a head or neuron does: where it acts most, and what the model says there with and\n"
        "without it. Shares are of how far it moves the margins of predictions on fit text."
    )
    if not listed:
        return f'''"""{layer} of {title_of(subject)}, in words. Nothing here runs: the program is what `{beside}` says.

{words}
"""'''
    return f'''"""{layer} of {title_of(subject)}, described: {listed}. Nothing here runs in the full program.

The full program runs what `{beside}` says. The sources here say what its parts do, as far as that is known,
in {numbers:,} numbers. With

    python -m program "Some text" --source-only

those of QK and IN (where heads look, when neurons fire) run in the place of the weights, and means in the place of what
they leave out. OV, OUT and embeddings (what is moved and written) are as in the full program even so; with
`--source-only all` their sources or means run too.

{_advice(beside, lifted)}

{words}
"""'''


def _advice(beside: str, lifted: int) -> str:
    """How a source that is described comes to run, and for how many `lifted` parts that is no way."""
    said = (
        "A changed source changes what the full program does only by `pellucid edit DIR --commit ADDRESS`. To let one\n"
        'run instead of the weights, write `residual = "dropped"` into its entry of `parts.toml`; then\n'
        f"`pellucid decompile` moves it into `{beside}`."
    )
    if not lifted:
        return said
    runs = f"{lifted:,} of these parts run" if lifted > 1 else "One of these parts runs"
    return f"{said} {runs} `lifted` there, without residual already:\na lifted form goes before a source."


def described_page(name: str, subject: str) -> str:
    """A page of descriptions without any."""
    return f"{described(name, subject, {}, 0)}\n"


def switches(decoder: Decoder) -> frozenset[str]:
    """What the files of a program are printed by: the features of a decoder, and what follows from them."""
    found = {*features(decoder)}
    follows = {
        "plain": found <= PLAIN and PLAIN - {"untied", "scales"} <= found,
        "alone": decoder.alone,
        "stretched": found & {"linear", "llama3", "yarn"},
        "trained": found & {"llama3", "yarn"},
        "mixed": found & {"llama3", "yarn"},
        "capped": found & {"score cap", "logit cap"},
    }
    return frozenset(found | {name for name, there in follows.items() if there})


def fixed(subject: str, decoder: Decoder) -> dict[str, str]:
    """The files of a program that follow from what its model is made of, by name."""
    by = switches(decoder)
    files = {theirs: ours for ours, theirs in VERBATIM.items() if ours not in _ONLY or _ONLY[ours] in by}
    found = {name: printed(ours, by) for name, ours in files.items()} | {"model.py": model(subject, decoder)}
    return found | {"runtime.py": with_activation(found["runtime.py"], decoder.activation)}


def model(subject: str, decoder: Decoder) -> str:
    """`model.py`: the forward pass with this subject's name and shape."""
    fields = "".join(f"    {name}={_literal(value)},\n" for name, value in fields_of(decoder).said.items())
    text = printed("model.py", switches(decoder))
    text = text.replace('SUBJECT = "a model"', f'SUBJECT = "{plain(subject)}"')
    text = text.replace("MADE_OF: tuple[str, ...] = ()", _made_of(features(decoder)))
    return re.sub(r"(?ms)^CONFIG = Config\(\n.*?^\)", lambda _: f"CONFIG = Config(\n{fields})", text)


def _literal(value: object) -> str:
    if isinstance(value, Turns):
        return f"Rotary({', '.join(f'{name}={_literal(number)}' for name, number in value.said.items())})"
    return f'"{plain(value)}"' if isinstance(value, str) else repr(value)


def _made_of(names: Sequence[str]) -> str:
    """What of all that a model may have this one has, several to a line."""
    quoted = [f'"{name}"' for name in names]
    one = f"MADE_OF = ({', '.join(quoted)}{',' * (len(names) == 1)})"
    return one if len(one) <= 120 else "\n".join(["MADE_OF = (", *(f"    {name}," for name in quoted), ")"])


def package(subject: str, table: Sequence[str] = (), numbers: tuple[int, int] = (0, 0)) -> str:
    """`__init__.py`: what the program is, by a `table` of what runs, and where to begin to read.

    `numbers` are those in sources that run, and in those that describe.
    """
    said = ""
    if table:
        runs, describes = numbers
        said = "\n".join(
            ["", *table, "", f"Sources that run hold {runs:,} numbers, those that describe {describes:,},"]
        )
        said += " beside the\nkinds of `words.py`. `parts.toml` lists every part.\n"
    return f'''"""{title_of(subject)} as a program.

    python -m program "Some text"
{said}
Read `model.py` first: the forward pass, top to bottom. `embedding.py` and `layer_00.py` and on say what every part of
it runs, `described_00.py` and on what parts do that run from their weights. Begin there with the lines `about(…)`: they
say in words what whole heads and neurons do. `prelude.py` is the language they are written in, `words.py` names kinds
of tokens. `parts.py`, `values.py` and `runtime.py` do the arithmetic.
"""
'''


def vocabulary(tokenizer: Tokenizer) -> str:
    """`vocabulary.json`: pieces in the order of their ids, merges in the order they were learned, special tokens."""
    tables = tokenizer.pieces()
    pieces: list[str | None] = [None] * tokenizer.n_tokens
    for piece, id in tables.ids.items():
        if id < len(pieces):  # the others have no embedding: text that has them is refused
            pieces[id] = piece
    data: dict[str, Any] = {
        "kind": tables.kind,
        "end": tokenizer.eos_id,
        "ends": tokenizer.ends,
        "opening": tokenizer.opening,
        "opens": bool(tokenizer.opening),
        "spaced": tables.spaced,
        "special": [[added.text, added.id] for added in tables.added],
        "strips": {a.text: [a.left, a.right] for a in tables.added if a.left or a.right},
        "late": [added.text for added in tables.added if added.late],
        "pieces": pieces,
        "merges": [" ".join(pair) for pair in tables.merges],
    }
    if tokenizer.chat is not None:
        data["chat"] = {"template": tokenizer.chat.template, "tokens": dict(tokenizer.chat.tokens)}
    if tables.steps is not None:
        data |= _steps(tables.steps, tables.added)
    return json.dumps(data, ensure_ascii=False, indent=0) + "\n"


def _steps(steps: Steps, added: Sequence[Added]) -> dict[str, Any]:
    """What is done to text, for tokenizers that do not cut as GPT-2 does; see `program/cutting.py`."""
    return {
        "changes": steps.changes,
        "cuts": steps.cuts,
        "classes": [ranges_of(atom) for atom in steps.classes],
        "blank": steps.blank,
        "taken": steps.taken,
        "bytewise": steps.bytewise,
        "fallback": steps.fallback,
        "whole": steps.whole,
        "unknown": steps.unknown,
        "fused": steps.fused,
        "seen": {token.text: token.seen for token in added if token.seen},
    }
