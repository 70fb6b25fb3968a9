"""A source beside the raw part, in the terminal: figures, and the places where they differ most."""

from __future__ import annotations

from rich.text import Text

from pellucid.base.terminal import terminal
from pellucid.verify.scratch import Difference, Key, Scratch


def print_scratch(found: Scratch) -> None:
    """Print what `scratch` found on standard output."""
    console = terminal()
    is_head = found.address.endswith(".QK")
    unit = "nats a query" if is_head else "root mean square"
    head = Text(f"{found.address}", style="bold")
    head.append(f"  {found.place}  {found.rows} rows of tune text, {found.positions:,} positions\n\n", "not bold")
    head.append(f"{'':<8}{'score':>8}{'error':>10}  {unit}\n", "not bold dim")
    for name, entry in (("source", found.source), ("mean", found.mean)):
        if entry is not None:
            head.append(f"{name:<8}{entry.score:>8.3f}{entry.error:>10.3g}\n", "bold" if name == "source" else "dim")
    console.print(head)
    other = "mean" if found.source is None else "source"
    console.print(f"Where {other} and raw part differ most ({'total variation' if is_head else 'pre-activation'}):")
    for place in found.worst:
        console.print(_place(place, other, found.space))
    if found.source is None:
        console.print(_hint(found))


def _place(place: Difference, other: str, space: str) -> Text:
    """A place as a line of text with its last token marked, and a line for each side."""
    text = Text(f"\n{place.difference:7.3f}  ", "bold")
    text.append(space.join(map(_visible, (*place.tokens[:-1], ""))), "not bold")
    text.append(_visible(place.tokens[-1]), "bold reverse")
    for name, side in (("raw", place.raw), (other, place.source)):
        said = f"{side:.3f}" if isinstance(side, float) else "   ".join(map(_key, side))
        text.append(f"\n         {name:<7} {said}", "not bold")
    return text


def _key(key: Key) -> str:
    return f"{key.weight:.2f} {key.token!r} {f'{key.back} back' if key.back else 'here'}"


def _visible(token: str) -> str:
    return token.replace("\n", "⏎")


def _hint(found: Scratch) -> str:
    """What to write in place of a raw statement."""
    example = "query, key):\n    return select(key.position == query.position - 1)"
    if not found.address.endswith(".QK"):
        example = f'here):\n    return 2.0 * here.token.one_of("{_visible(found.worst[0].tokens[-1])}") - 1.0'
    return (
        f"\n{found.address} runs raw ({found.place.split()[0]}). Write its source there, for example\n\n"
        f'@source("{found.address}")\ndef what_it_does({example}\n'
    )
