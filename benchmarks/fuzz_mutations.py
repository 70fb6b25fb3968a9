"""Changes to files that fuzzing makes: most are such as a reader may accept, some are not what was written at all."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable
from typing import Any

TEXTS = (
    "", " ", "x", "L00.H00.QK", "L00.N*.IN", "overall", "constructor", "../../etc/passwd", "'; DROP TABLE part; --",
    "</script>", "[bold]x[/bold]", "\x1b[2J", "\u202eabc", "\u2028", "🤗", "天地", "%s%n", "w1", "a" * 3000, "0x10",
)  # fmt: skip
NUMBERS = (0, 1, 2, 5, 11, 100, 10**6, 0.5, 1e-9, 99.5)
ODD: tuple[Any, ...] = (
    None, True, False, -1, -0.0, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 1e308, -1e308, float("inf"), float("nan"), "1",
    "\ud800", "\x00", [], {}, [[]], {"": 0}, [None], "x" * 100_000,
)  # fmt: skip
GENTLE = 0.85
"""The share of changes to values that keep their kind."""

Place = tuple[Any, Any]


def places(tree: Any) -> list[Place]:
    """Every container in `tree` with a key or index in it."""
    found: list[Place] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            found.append((node, key))
            waiting.append(value)
    return found


def changed(tree: Any, draw: random.Random) -> Any:
    """A copy of `tree` with one to three changes, or now and then something else altogether."""
    if draw.random() < 0.02:
        return draw.choice(ODD)
    tree = copy.deepcopy(tree)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        where = places(tree)
        if where:
            node, key = draw.choice(where)
            (_gentle if draw.random() < GENTLE else _harsh)(node, key, draw)
    return tree


def _gentle(node: Any, key: Any, draw: random.Random) -> None:
    """Another value of the same kind, another order, an entry twice or not at all, one more that nobody asks for."""
    value = node[key]
    if isinstance(value, bool):
        node[key] = not value
    elif isinstance(value, int):
        node[key] = draw.choice((value, value + 1, max(0, value - 1), *filter(lambda n: isinstance(n, int), NUMBERS)))
    elif isinstance(value, float):
        node[key] = draw.choice((value * 1.5, value / 3, float(draw.choice(NUMBERS))))
    elif isinstance(value, str):
        node[key] = draw.choice((value, value, value + draw.choice(TEXTS[:12]), draw.choice(TEXTS)))
    elif isinstance(value, list) and value:
        at = draw.randrange(len(value))
        draw.choice(
            (lambda: value.append(value[at]), lambda: value.pop(at), value.reverse, lambda: draw.shuffle(value))
        )()
    elif isinstance(value, dict):
        items = list(value.items())
        draw.shuffle(items)
        value.clear()
        value.update(items)


def _harsh(node: Any, key: Any, draw: random.Random) -> None:
    """Something of another kind, nothing, an entry without a name, or nesting that no parser likes."""
    kind = draw.randrange(5)
    if kind == 0:
        node[key] = draw.choice(ODD)
    elif kind == 1:
        del node[key]
    elif kind == 2 and isinstance(node, dict):
        node[draw.choice(TEXTS)] = draw.choice((*ODD, *NUMBERS))
    elif kind == 3 and isinstance(node, dict):
        node[draw.choice(TEXTS)] = node.pop(key)
    else:
        nested: Any = node[key]
        for _ in range(draw.choice((1, 5, 300))):
            nested = [nested]
        node[key] = nested


def torn(data: bytes, draw: random.Random) -> bytes:
    """`data` cut, with bytes flipped, pieces moved or put in."""
    if not data:
        return b"\xff"
    at, other = sorted(draw.randrange(len(data)) for _ in range(2))
    return draw.choice(
        (
            lambda: data[:at],
            lambda: data[at:],
            lambda: data[:at] + data[other:],
            lambda: data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :],
            lambda: data[:at] + draw.choice((b"\xff\xfe", b"\x00", b"\xef\xbb\xbf", b"\r\n", b"[" * 500)) + data[at:],
            lambda: data + data[at:other],
            lambda: b"",
        )
    )()


def mostly(gentle: Callable[[], bytes], data: bytes, draw: random.Random) -> bytes:
    """What `gentle` gives, or in one case of eight `data` with its bytes damaged."""
    return torn(data, draw) if draw.random() < 0.125 else gentle()


def json_file(data: bytes, draw: random.Random) -> bytes:
    """A file of JSON, changed."""

    def gentle() -> bytes:
        indent, ascii_only = draw.choice((None, 1)), draw.random() < 0.8
        text = json.dumps(changed(json.loads(data), draw), indent=indent, ensure_ascii=ascii_only)
        return text.encode("utf-8", "surrogatepass")

    return mostly(gentle, data, draw)


def json_lines(data: bytes, draw: random.Random) -> bytes:
    """A file of lines of JSON, some of them changed, moved, doubled or left out."""

    def gentle() -> bytes:
        lines = data.decode().split("\n")
        at = draw.randrange(len(lines))
        kind = draw.randrange(4)
        if kind == 0:
            lines.insert(at, draw.choice((lines[at], "", "  ")))
        elif kind == 1:
            draw.shuffle(lines)
        elif lines[at].strip():
            lines[at] = json_file(lines[at].encode(), draw).decode("utf-8", "replace").replace("\n", " ")
        return "\n".join(lines).encode()

    return mostly(gentle, data, draw)


def table(data: bytes, draw: random.Random) -> bytes:
    """A file of lines with tabs between cells, changed."""

    def gentle() -> bytes:
        rows = [line.split("\t") for line in data.decode().split("\n")]
        row = draw.choice(rows)
        kind = draw.randrange(5)
        if kind < 3:
            row[draw.randrange(len(row))] = draw.choice(TEXTS).replace("\t", "\\t").replace("\n", "\\n")
        elif kind == 3:
            rows.insert(draw.randrange(len(rows)), list(row) if draw.random() < 0.3 else [""])
        else:
            draw.shuffle(rows)
        return "\n".join("\t".join(cells) for cells in rows).encode()

    return mostly(gentle, data, draw)


def text(data: bytes, draw: random.Random) -> bytes:
    """A text, with words and separators moved, doubled or put in."""

    def gentle() -> bytes:
        words = data.decode().split(" ")
        at, other = sorted(draw.randrange(len(words)) for _ in range(2))
        more = draw.choice((TEXTS, ("<|endoftext|>", "<|endoftext|><|endoftext|>", "\n\n", "\t", "\u3000", "<|endof")))
        return " ".join([*words[:at], draw.choice(more), *words[other if draw.random() < 0.2 else at :]]).encode()

    return mostly(gentle, data, draw)


def gguf_file(data: bytes, draw: random.Random) -> bytes:
    """A GGUF file: numbers of its tensors changed, or now and then a number or a letter of its description."""

    def gentle() -> bytes:
        found, end = bytearray(data), data.rindex(b".weight")
        for _ in range(draw.choice((1, 1, 2, 4))):
            if draw.random() < 0.5:
                at = 4 * draw.randrange(end // 4 + 32, len(data) // 4)
                found[at : at + 4] = struct.pack("<f", draw.uniform(-2, 2))
            else:
                at, odd = draw.randrange(4, end), draw.choice((0, 1, 7, 255, draw.randrange(256)))
                width = draw.choice((1, 1, 1, 4, 8))
                found[at : at + width] = bytes([odd]) * width
        return bytes(found)

    return mostly(gentle, data, draw)
