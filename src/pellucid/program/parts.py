"""Runs the parts: each from the weights, from its source, or as its mean.

Whatever does not change from text to text is settled when the model is built: a part that is lifted, a mean or a
constant is folded into copies of the weights, so that a layer stays one multiplication per step, and only functions are
called while it runs.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path

import numpy as np

from .changes import BEFORE, Changes, Delta
from .prelude import (
    APART,
    BASES,
    BESIDE,
    DESCRIBED,
    STATEMENTS,
    VALUES,
    Booleans,
    Floats,
    Integers,
    Kind,
    ProgramError,
    Statement,
    TokenSets,
    View,
)
from .rotary import rotate  # for: rotary
from .runtime import (
    ACTIVATIONS,
    Config,
    Function,
    in_blocks,
    layer_norm,
    matmul,
    rms_norm,
    soft_cap,
    softmax_sums,
)
from .values import Sum, Sums, Told, Values, check_asked, check_sum, layer_of
from .vocabulary import Vocabulary
from .wires import woven  # for: plain

APART_FROM_WEIGHTS = "its queries, keys or values are shared, turned or normed"  # for: not alone
QUERIES = 64  # queries whose scores are computed at a time: no more keys than they can see, and they stay in the cache

ARGUMENTS = {
    "QK": {"query", "key"},
    "OV": {"query", "key", "pattern"},
    "IN": {"here"},
    "OUT": {"here", "fires"},
    "TOK": {"here"},
    "POS": {"here"},
    "B": set[str](),
}


class Source:
    """A part's function, called with what it asks for; what it returns is checked."""

    def __init__(self, statement: Statement):
        function = statement.function
        assert function is not None
        row = statement.line if statement.form == "fires" else None
        kind = statement.key.rpartition(".")[2]
        if kind not in ARGUMENTS:
            raise ProgramError(f"{statement}: {statement.key} can only run raw; write raw({statement.key!r})")
        self.statement, self.kind = statement, kind
        self.function = function
        self._checked = Function(function, statement.file, str(statement), statement.name, row)
        self.asks = self._checked.asks
        self.values = tuple(name for name in self.asks if kind == "QK" and name not in ARGUMENTS[kind])
        if unknown := set(self.asks) - ARGUMENTS[kind] - set(self.values):
            known = ", ".join(sorted(ARGUMENTS[kind])) or "nothing"
            raise ProgramError(
                f"{statement} asks for {', '.join(sorted(unknown))}; a {kind} source may ask for {known}"
            )

    def __call__(self, shape: tuple[int, ...], **given: object) -> Floats:
        """What the source says, in a form that broadcasts to `shape`."""
        return self._checked(shape, given)


@dataclass(frozen=True)
class Lifted:
    """What a head moves along a few directions: `x @ read` is mixed by its pattern, and what comes out @ `write`."""

    # here values are not a head's own, and `read` is of what it mixes, [dim, rank]  # for: not alone
    read: Floats  # [model, rank]
    write: Floats  # [rank, model]
    bias: Floats  # [model]


@dataclass(frozen=True)
class Compared:
    """Where a head looks by a few directions: `x @ read_q + bias` of the query with `x @ read_k` of the key."""

    read_q: Floats  # [model, rank]
    read_k: Floats  # [model, rank]
    bias: Floats  # [rank]


@dataclass(frozen=True)
class Reads:
    """When a neuron fires, by a few directions of the normed residual stream: its column of weights, and its bias."""

    weight: Floats  # [model]
    bias: float


Runs = Source | Sum | Lifted | Compared | Reads | float | str  # or a neuron's constant, "raw", or "mean"


class Plan:
    """What every part runs: the statements of this program, the residuals of `parts.toml`, and `source_only`.

    `source_only` switches residuals off: "code" for every QK and IN, "QK" or "IN" for one of the two, "all" for
    embeddings, OV and OUT as well; what has no source then is its mean. Lifted parts have none. None runs the full
    program.
    """

    def __init__(
        self, config: Config, weights: Callable[[], dict[str, Floats]], source_only: str | None, directory: Path
    ):
        code, data = ("QK", "IN"), ("OV", "OUT", "TOK", "POS")
        off: dict[str | None, tuple[str, ...]] = {None: (), "QK": ("QK",), "IN": ("IN",), "code": code}
        off["all"] = code + data
        if source_only not in off:
            raise ProgramError(f'source_only is {source_only!r}; it may be None, "QK", "IN", "code" or "all"')
        self.config, self.off = config, off[source_only]
        self.dropped, self.patterns = dropped_residuals(directory / "parts.toml")
        if (Path(__file__).parent / "stream.py").is_file():
            import_module(".stream", __package__)
        for name in ("embedding", *(f"layer_{layer:02d}" for layer in range(config.layers))):
            import_module(f".{name}", __package__)
            described = _described(f"{name}.py")
            if (Path(__file__).parent / described).is_file():
                import_module(f".{described.removesuffix('.py')}", __package__)
        if (Path(__file__).parent / "edits.py").is_file():
            import_module(".edits", __package__)
        for statement in STATEMENTS.values():
            self._check(statement)
        wired = [key for key, found in STATEMENTS.items() if found.form == "wired"]  # for: plain
        self.wired = [key for key in wired if self._is_alone(key)]  # for: plain
        given = {} if len(self.wired) == self._addresses else weights()  # for: plain
        self.weights = woven(config, given, self.wired, Vocabulary)  # for: plain
        self.weights = weights()  # for: not plain
        self.changes = Changes(config, self.weights)
        self.rebase()

    @property  # for: plain
    def _addresses(self) -> int:
        """How many addresses the model has."""
        config, ends = self.config, 3
        ends += 1  # for: untied
        return config.layers * (4 + 2 * config.heads + 2 * config.neurons) + ends

    def _is_alone(self, address: str) -> bool:  # for: plain
        """Whether a part runs without its residual."""
        return address.rpartition(".")[2] in self.off or self._is_dropped(address)

    def rebase(self) -> None:
        """Find out which parts run raw + (source − base), after edits by hand."""
        self.changes.deltas = {}
        for address, change in BASES.items():
            now, kind = STATEMENTS[address], address.rpartition(".")[2]
            if change.function is None or kind in self.off or (self._is_dropped(address) and not self._beside(address)):
                continue
            layer, member = (int(name[1:]) for name in address.split(".")[:2])
            before = Source(replace(now, function=change.function, file=change.file, line=change.line))
            delta = Delta(Source(now), before)
            self.changes.deltas.setdefault((layer, kind), []).append((member, delta))

    def runs(self, address: str) -> Runs:
        """What the part at `address`, which is no neuron, runs."""
        statement, beside = STATEMENTS.get(address), STATEMENTS.get(f"{address}{BESIDE}")
        if statement is None and beside is None:
            raise ProgramError(f"{_file(address)} has no statement for {address}; add raw({address!r})")
        if beside is not None and "QK" not in self.off and not self._is_rewritten(address):
            return self.compared(beside) if self._is_dropped(address) else "raw"
        return "mean" if statement is None else self._choose(address, statement)

    def neurons(self, layer: int, kind: str) -> list[tuple[int, Runs]]:
        """The neurons of a layer that do not run raw, with what they run; `kind` is IN or OUT."""
        own = self._statements(layer, kind)
        rest = f"L{layer:02d}.N*.{kind}"
        missing = [neuron for neuron in range(self.config.neurons) if neuron not in own]
        if missing and rest not in STATEMENTS:
            raise ProgramError(f"{_file(rest)} has no statement for neuron {missing[0]} ({kind}); add raw({rest!r})")
        chosen = {neuron: self._choose(f"L{layer:02d}.N{neuron:04d}.{kind}", own[neuron]) for neuron in own}
        beside = STATEMENTS.get(f"L{layer:02d}.{kind}{BESIDE}")
        if beside is not None and kind not in self.off:
            of_layer = f"L{layer:02d}"
            reading = self._reading(beside).items()
            chosen |= {n: how for n, how in reading if not self._is_rewritten(f"{of_layer}.N{n:04d}.{kind}")}
        if missing and kind in self.off:
            chosen |= dict.fromkeys(missing, "mean")
        return [(neuron, chosen[neuron]) for neuron in sorted(chosen) if chosen[neuron] != "raw"]

    @cached_property
    def values(self) -> Values:
        """The named values, and what heads have to see for those that neurons read."""
        sums = {layer_of(s.file) for s in STATEMENTS.values() if s.form == "linear"}
        running = [how for layer in sorted(sums) for _, how in self.neurons(layer, "IN") if isinstance(how, Sum)]
        heads = [s.key for s in STATEMENTS.values() if s.function and s.key.endswith(".QK") and Source(s).values]
        looks = [how for how in map(self.runs, heads) if isinstance(how, Source)]
        return Values(self.config, (n for how in running for n in how.terms), (n for how in looks for n in how.values))

    def sources(self) -> list[Source]:
        """The functions of all statements, whether they run or their residual makes up for them."""
        return [Source(statement) for statement in STATEMENTS.values() if statement.function]

    def check(self, vocabulary: TokenSets) -> None:
        """Try every source and value out. Raises `ProgramError` naming the one that is broken."""
        probe(self.sources(), self.config, vocabulary)
        if VALUES:
            probe_values(Values(self.config, VALUES), self.config, vocabulary)
        self.try_changes(vocabulary)

    def try_changes(self, vocabulary: TokenSets) -> None:
        """Call every edit once, so that a broken one is known before anything is measured."""
        view = _made_up(self.config, vocabulary)
        shape = (*view.ids.shape, self.config.model)
        rows, length = view.ids.shape
        pattern = np.ones((rows, self.config.heads, length, length), np.float32)
        whole = View(view.ids, 0, vocabulary)  # edits name tokens that a few cannot stand for
        self.changes.write(BEFORE, np.zeros(shape, np.float32), whole.here)
        for layer in range(self.config.layers):
            self.changes.move(layer, np.zeros(shape, np.float32), pattern, whole.query(0, length), whole.key(length))
            self.changes.write(layer, np.zeros(shape, np.float32), whole.here)

    def raw(self, address: str) -> Floats:  # for: head norms
        """The weights at an address that always runs from them."""
        self.runs(address)
        return self.weights[address]

    def columns(self, name: str) -> Floats:
        """What heads read by, [model, head · dim], of weights [model, head, dim]."""
        stored = self.weights[name]
        return stored.reshape(len(stored), -1)

    def biases(self, name: str) -> Floats:  # for: read bias
        """What is added to that, [head · dim]."""
        return self.weights[f"{name}.bias"].reshape(-1)

    def rows(self, name: str) -> Floats:
        """What heads write through, [head · dim, model], of weights [head, dim, model]."""
        stored = self.weights[name]
        return stored.reshape(-1, stored.shape[-1])

    def mean(self, name: str) -> Floats:
        """A mean over text, for a part that has neither its weights nor a source."""
        if f"mean.{name}" not in self.weights:
            raise ProgramError(f"weights.safetensors has no mean.{name}, which this program needs; decompile again")
        return self.weights[f"mean.{name}"]

    def lifted(self, statement: Statement) -> Lifted:
        """The vectors of a lifted head; those of a lower rank are the first of those of a higher one."""
        address, rank = statement.key, statement.rank
        read, write, centre = self._vectors(statement, address, ("read", "write", "centre"))
        read, write, centre = read[:, :rank], write[:rank], centre[:rank]
        head = int(address[address.index("H") + 1 : -len(".OV")])
        return Lifted(read, write, self.mean(f"{address.partition('.')[0]}.OV")[head] - centre @ write)

    def compared(self, statement: Statement) -> Compared:
        """The vectors by which a lifted head looks."""
        address, rank = statement.key.removesuffix(BESIDE), statement.rank
        read_q, read_k, bias = self._vectors(statement, address, ("read_q", "read_k", "bias"))
        return Compared(read_q[:, :rank], read_k[:, :rank], bias[:rank])

    def reads(self, statement: Statement) -> tuple[Floats, Floats]:
        """What neurons of a layer read along its channels: weights [model, neuron] and biases [neuron]."""
        address, rank = statement.key.removesuffix(BESIDE), statement.rank
        names = ("read", "write", "centre", "offset")
        read, write, centre, offset = self._vectors(statement, address, names)
        return read[:, :rank] @ write[:rank], offset - centre[:rank] @ write[:rank]

    def _vectors(self, statement: Statement, address: str, names: tuple[str, ...]) -> list[Floats]:
        """Vectors of a lifted part, of all ranks; those of a lower rank are the first of those of a higher one."""
        held = [
            self.weights[f"lifted.{address}.{name}"] for name in names if f"lifted.{address}.{name}" in self.weights
        ]
        if len(held) < len(names) or held[0].shape[1] < statement.rank:
            most = f"vectors up to rank {held[0].shape[1]}" if len(held) == len(names) else "none; decompile again"
            raise ProgramError(f"{statement} of rank {statement.rank}: weights.safetensors has {most}")
        rank = held[0].shape[1]
        if f"lifted.{address}.tuned" in self.weights and rank != statement.rank:
            raise ProgramError(
                f"{statement} of rank {statement.rank}: its vectors were tuned at rank {rank}, which they are good for "
                f"alone; write rank={rank}, or remove tuned.safetensors and decompile again"
            )
        return held

    def _reading(self, statement: Statement) -> dict[int, Runs]:
        """What the neurons of a `channels` statement run in the full program."""
        at = statement.key.partition(".")[0]
        free = {neuron for neuron in statement.neurons if self._is_dropped(f"{at}.N{neuron:04d}.IN")}
        if not free:
            return dict.fromkeys(statement.neurons, "raw")
        weights, biases = self.reads(statement)
        if strange := sorted(neuron for neuron in free if not np.isfinite(biases[neuron])):
            raise ProgramError(f"{statement}: neuron {strange[0]} is none of those that its channels were tuned for")
        return {n: Reads(weights[:, n], float(biases[n])) if n in free else "raw" for n in statement.neurons}

    def _is_dropped(self, address: str) -> bool:
        """Whether a part's residual is dropped for good."""
        return address in self.dropped or any(pattern.fullmatch(address) for pattern in self.patterns)

    def _beside(self, address: str) -> Statement | None:
        """What lifts a part in the place of its weights, beside its source."""
        several = STATEMENTS.get(f"{address.partition('.')[0]}.IN{BESIDE}") if address.endswith(".IN") else None
        if several and int(address.split(".")[1][1:]) in several.neurons:
            return several
        return STATEMENTS.get(f"{address}{BESIDE}")

    def _is_rewritten(self, address: str) -> bool:
        """Whether an edit by hand put a source where the part was raw: raw + (source − raw), which is the source."""
        return address in BASES and BASES[address].function is None

    def is_idle(self, address: str) -> bool:
        """Whether the source of a part does not run: its residual is on, or the part runs lifted, and it is no edit."""
        if address in BASES or address.rpartition(".")[2] in self.off:
            return False
        return not self._is_dropped(address) or self._beside(address) is not None

    def _choose(self, address: str, statement: Statement) -> Runs:
        """Raw, lifted, mean, constant or function, by form and residual."""
        kind = address.rpartition(".")[2]
        source = Source(statement) if statement.function else None
        if statement.form == "wired":  # for: plain
            return "raw"  # from weights that are as it says where its residual is off
        if statement.form == "raw" or (self.off and statement.form in ("lifted", "mean", "means")):
            return "mean" if kind in self.off else "raw"
        if kind not in self.off and not self._is_dropped(address) and not self._is_rewritten(address):
            return "raw"  # source + (raw − source)
        if statement.form == "lifted":
            return self.lifted(statement)
        if statement.form in ("mean", "means"):
            return "mean"
        if statement.form == "linear":
            return Sum(statement.bias, statement.terms)
        return source or statement.values[int(address.split(".")[1][1:])]

    def _statements(self, layer: int, kind: str) -> dict[int, Statement]:
        """The statements about single neurons of a layer, constants and means included."""
        found: dict[int, Statement] = {}
        start = f"L{layer:02d}.N"
        for key, statement in STATEMENTS.items():
            if key.startswith(start) and key.endswith(f".{kind}") and "*" not in key:
                found[int(key[len(start) : -1 - len(kind)])] = statement
        for several in filter(None, map(STATEMENTS.get, (f"L{layer:02d}.{kind}", f"L{layer:02d}.{kind}{APART}"))):
            for neuron in several.neurons:
                if neuron in found:
                    raise ProgramError(f"{several}: neuron {neuron} is already defined at {found[neuron]}; keep one")
                found[neuron] = several
        return found

    def _check(self, statement: Statement) -> None:
        """Raise `ProgramError` for a statement in the wrong file, or about a part that the model does not have."""
        config, names = self.config, re.findall(r"\b([LHGN])(\d+)", statement.key)
        sizes = {"L": config.layers, "H": config.heads, "N": config.neurons}
        sizes["G"] = config.groups  # for: grouped
        neurons = max(statement.neurons, default=0)
        stranger = any(int(number) >= sizes[letter] for letter, number in names) or neurons >= config.neurons
        stranger = stranger or statement.key == "UNEMB"  # for: not untied
        if stranger:
            raise ProgramError(f"{statement}: this model has no such part")
        if statement.file not in (_file(statement.key), _described(_file(statement.key))):
            raise ProgramError(f"{statement} belongs into {_file(statement.key)}")
        check_sum(statement)
        check_asked(statement, Source(statement).values if statement.function else ())


def _file(address: str) -> str:
    """The file that an address belongs into."""
    layer = re.match(r"L(\d+)\.", address)
    return f"layer_{layer[1]}.py" if layer else "embedding.py"


def _described(file: str) -> str:
    """The file beside `file` that holds sources which do not run."""
    return f"{DESCRIBED}{file.removeprefix('layer_')}"


def dropped_residuals(path: Path) -> tuple[set[str], list[re.Pattern[str]]]:
    """The addresses whose residual is dropped for good, and patterns of such, according to `parts.toml`."""
    if not path.is_file():
        return set(), []
    try:
        parts = tomllib.loads(path.read_text(encoding="utf-8")).get("part", [])
        found = {address for part in parts if part.get("residual") == "dropped" for address in part["addresses"]}
        patterns = [re.escape(address).replace(r"\*", r"\d+") for address in found if "*" in address]
        return found, [re.compile(pattern) for pattern in patterns]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProgramError(f"{path}: {type(error).__name__}: {error}") from error


# --- the pieces of the forward pass -----------------------------------------------------------------------------------


class Norm:
    """A norm of the residual stream; it always runs raw."""

    def __init__(self, plan: Plan, address: str):
        _only_raw(plan, address)
        layer, _, which = address.lower().partition(".")
        self.name = f"l{int(layer[1:])}_{which}" if which else ""
        self.asked = self.name in plan.values.norms
        self.gain, self.epsilon = plan.weights[address], plan.config.epsilon
        self.bias = plan.weights[f"{address}.bias"]  # for: layer norm

    def __call__(self, stream: Floats, view: View) -> Floats:
        normed, scale = layer_norm(stream, self.gain, self.bias, self.epsilon)  # for: layer norm
        normed, scale = rms_norm(stream, self.gain, self.epsilon)  # for: rms norm
        if self.asked:
            view.scales[self.name] = scale
        return normed


class Embedding:
    """What stands in the residual stream first."""

    def __init__(self, plan: Plan):
        names = ["EMB.TOK"]  # for: not learned positions
        names = ["EMB.TOK", "EMB.POS"]  # for: learned positions
        self.tokens, self.changes = plan.weights["EMB.TOK"], plan.changes
        self.positions = plan.weights["EMB.POS"]  # for: learned positions
        self.scale = np.float32(plan.config.embed_scale)  # for: scaled embedding
        self.ways = [(plan.runs(name), name) for name in names]
        self.means = [plan.mean(name) if how == "mean" else None for how, name in self.ways]

    def __call__(self, view: View) -> Floats:
        """The residual stream before layer 0, [batch, pos, model]."""
        ids = view.ids[:, view.past :]
        shape = (*ids.shape, self.tokens.shape[1])
        stream = np.zeros(shape, np.float32)
        rows = [self.tokens[ids]]
        rows[0] *= self.scale  # for: scaled embedding
        rows.append(self.positions[view.past : view.ids.shape[1]])  # for: learned positions
        for (how, _), row, mean in zip(self.ways, rows, self.means, strict=True):
            if isinstance(how, Source):
                stream += how(shape, here=view.here)
            else:
                stream += row if mean is None else mean
        self.changes.write(BEFORE, stream, view.here)
        return stream


class Attention:
    """The heads of a layer: where each looks (QK) and what it moves from there (OV)."""

    def __init__(self, plan: Plan, layer: int):
        config, at = plan.config, f"L{layer:02d}"
        self.norm = Norm(plan, f"{at}.LN1")
        self.behind = Norm(plan, f"{at}.ATTN.LN")  # for: norms behind
        self.gain_q, self.gain_k = (plan.raw(f"{at}.{which}") for which in ("QN", "KN"))  # for: head norms
        self.epsilon = config.epsilon  # for: head norms
        self.heads, self.dim = config.heads, config.dim
        self.shared = config.heads  # for: not grouped
        self.shared = config.groups  # heads of keys and values  # for: grouped
        self.scale = config.scale  # for: not scales
        self.scale = config.scales[layer]  # for: scales
        self.rotary = config.rotary  # for: rotary
        self.rotary = config.local_rotary if layer in config.local else config.rotary  # for: local rotary, local layers
        self.window = config.window  # for: window
        self.window = config.window if layer in config.local else config.positions  # for: window, local layers
        self.cap = config.score_cap  # for: score cap
        names = (f"{at}.H*.Q", f"{at}.H*.K", f"{at}.H*.V")  # for: not grouped
        names = (f"{at}.H*.Q", f"{at}.G*.K", f"{at}.G*.V")  # for: grouped
        for group in range(config.groups):  # for: grouped
            _only_raw(plan, f"{at}.G{group:02d}.K")
            _only_raw(plan, f"{at}.G{group:02d}.V")
        self.w_q, self.w_k, self.w_v = map(plan.columns, names)
        self.b_q, self.b_k, self.b_v = map(plan.biases, names)  # for: read bias
        self.w_out = plan.rows(f"{at}.H*.O")  # [head · dim, model]
        self.b_out = _bias(plan, f"{at}.ATTN.B")  # for: attention bias
        self.b_out = np.zeros(config.model, np.float32)  # what means in their place write  # for: not attention bias
        self.layer, self.values, self.changes = layer, plan.values, plan.changes
        self.looks: list[tuple[int, Source]] = []
        self.moves: list[tuple[int, Source]] = []
        uniform: list[int] = []  # columns of queries that are not needed
        silent: list[int] = []  # rows through which nothing is written
        lifts: list[tuple[range, Lifted]] = []  # columns of values, and what takes their place
        compared: list[tuple[range, Compared]] = []  # columns of queries, and what takes their place  # for: alone
        for head in range(config.heads):
            look, move = plan.runs(f"{at}.H{head:02d}.QK"), plan.runs(f"{at}.H{head:02d}.OV")
            columns = range(head * self.dim, (head + 1) * self.dim)
            if isinstance(look, Source):
                self.looks.append((head, look))
            if isinstance(look, Compared):  # for: alone
                compared.append((columns, look))
            elif look != "raw":
                uniform += columns
            if isinstance(look, Compared):  # for: not alone
                raise ProgramError(f"{at}.H{head:02d}.QK cannot be lifted: {APART_FROM_WEIGHTS}")
            if look != "raw":  # for: not alone
                uniform += columns
            if isinstance(move, Source):
                self.moves.append((head, move))
            elif isinstance(move, Lifted):
                lifts.append((columns, move))
            elif move == "mean":
                self.b_out = self.b_out + plan.mean(f"{at}.OV")[head]
            if move != "raw":
                silent += columns
        self.raw_looks = len(uniform) < config.heads * self.dim
        if uniform:
            self.w_q = _without(self.w_q, uniform, axis=1)
            self.b_q = _without(self.b_q, uniform, axis=0)  # for: read bias
        if silent:
            self.w_out = _without(self.w_out, silent, axis=0)
        for columns, lift in lifts:
            self._fold(columns, lift)  # for: alone
            self._narrow(columns, lift)  # for: not alone
        for columns, look in compared:  # for: alone
            self._compare(columns, look)

    def _fold(self, columns: range, lift: Lifted) -> None:  # for: alone
        """Let a head carry `x @ read` in the place of its values, and write that through `write`."""
        first, rank = columns.start, lift.read.shape[1]
        self.w_v, self.b_v = _without(self.w_v, [*columns], axis=1), _without(self.b_v, [*columns], axis=0)
        self.w_v[:, first : first + rank] = lift.read
        self.w_out[first : first + rank] = lift.write  # in a copy, where the head's rows are 0
        self.b_out = self.b_out + lift.bias

    def _narrow(self, columns: range, lift: Lifted) -> None:  # for: not alone
        """Let a head write what it mixes through `read` and `write` in the place of its rows."""
        self.w_out[columns.start : columns.stop] = lift.read @ lift.write  # in a copy, where these rows are 0
        self.b_out = self.b_out + lift.bias

    def _compare(self, columns: range, look: Compared) -> None:  # for: alone
        """Let a head compare a few directions in the place of its queries and keys."""
        first, rank = columns.start, look.read_q.shape[1]
        self.w_q, self.b_q = _without(self.w_q, [*columns], axis=1), _without(self.b_q, [*columns], axis=0)
        self.w_k, self.b_k = _without(self.w_k, [*columns], axis=1), _without(self.b_k, [*columns], axis=0)
        self.w_q[:, first : first + rank], self.w_k[:, first : first + rank] = look.read_q, look.read_k
        self.b_q[first : first + rank] = look.bias

    def __call__(self, x: Floats, view: View, held: Floats) -> Floats:
        """What the heads write, [batch, pos, model].

        `x` is the normed residual stream; the keys and values of the new positions are filled into `held`
        [batch, positions so far, keys then values].
        """
        batch, new, model = x.shape
        apart = (batch, -1, self.heads, self.dim)
        own, size = (batch, -1, self.shared, self.dim), self.shared * self.dim
        q, k, v = matmul(x, self.w_q), matmul(x, self.w_k), matmul(x, self.w_v)
        q += self.b_q  # for: read bias
        k += self.b_k  # for: read bias
        v += self.b_v  # for: read bias
        q, k = q.reshape(apart), k.reshape(own)
        q = rms_norm(q, self.gain_q, self.epsilon)[0]  # for: head norms
        k = rms_norm(k, self.gain_k, self.epsilon)[0]  # for: head norms
        turns = self.rotary.turns(view.past, view.past + new)  # for: rotary
        rotate(q, turns)  # for: rotary
        rotate(k, turns)  # for: rotary
        held[:, view.past :, :size], held[:, view.past :, size:] = k.reshape(batch, new, size), v
        q *= np.float32(self.scale)
        queries = q.transpose(0, 2, 1, 3)  # [batch, head, query, dim]
        keys = held[..., :size].reshape(own).transpose(0, 2, 3, 1)  # [batch, group, dim, key]
        values = held[..., size:].reshape(own).transpose(0, 2, 1, 3)  # [batch, group, key, dim]
        z = np.empty((batch, new, self.heads * self.dim), np.float32)
        moving = self.moves or self.layer in self.changes.moves or (self.layer, "OV") in self.changes.deltas
        moved = np.zeros((batch, new, model), np.float32) if moving else None
        edits = np.zeros((batch, new, model), np.float32)  # for: norms behind
        for first in range(0, new, QUERIES):
            last = min(first + QUERIES, new)
            seen = view.past + last
            pattern, sums = self._looks(queries[:, :, first:last], keys[..., :seen], view, first)
            self.values.see(self.layer, pattern, sums, view, first)
            if moved is not None:
                pattern /= sums
                sums = np.ones((), np.float32)
                places = {"query": view.query(first, last), "key": view.key(seen)}
                for head, source in (*self.moves, *self.changes.deltas.get((self.layer, "OV"), ())):
                    moved[:, first:last] += source((batch, last - first, model), pattern=pattern[:, head], **places)
                self.changes.move(self.layer, moved[:, first:last], pattern, **places)  # for: not norms behind
                self.changes.move(self.layer, edits[:, first:last], pattern, **places)  # for: norms behind
            mixed = _for_groups(pattern, values[:, :, :seen])  # for: grouped
            mixed = pattern @ values[:, :, :seen]  # for: not grouped
            mixed /= sums
            z[:, first:last].reshape(apart)[...] = mixed.transpose(0, 2, 1, 3)
        write = matmul(z, self.w_out)
        write += self.b_out
        if moved is not None:
            write += moved
        write = self.behind(write, view)  # for: norms behind
        write += edits  # for: norms behind
        return write

    def _looks(self, queries: Floats, keys: Floats, view: View, first: int) -> tuple[Floats, Floats]:
        """Where queries from `first` on look, [batch, head, query, key], and what each row is to be divided by."""
        new, seen = queries.shape[2], keys.shape[3]
        shape = (*queries.shape[:3], seen)
        scores = _for_groups(queries, keys) if self.raw_looks else np.zeros(shape, np.float32)  # for: grouped
        scores = queries @ keys if self.raw_looks else np.zeros(shape, np.float32)  # for: not grouped
        soft_cap(scores, self.cap)  # for: score cap
        places = {"query": view.query(first, first + new), "key": view.key(seen)}
        for head, source in self.looks:
            scores[:, head] = source((len(scores), new, seen), **places, **self._told(source, view))
        for head, delta in self.changes.deltas.get((self.layer, "QK"), ()):
            scores[:, head] += delta((len(scores), new, seen), **places)
        if new > 1:
            np.copyto(scores[..., -new:], -np.inf, where=np.tri(new, dtype=np.bool_).T & ~np.eye(new, dtype=np.bool_))
        if seen > self.window:  # for: window
            np.copyto(scores, -np.inf, where=np.tri(new, seen, seen - new - self.window, dtype=np.bool_))
        return scores, softmax_sums(scores)

    def scores(self, head: int, view: View) -> Floats:
        """The scores of a head that has a source, [batch, query, key], on whole rows."""
        rows, length = view.ids.shape
        source = dict(self.looks)[head]
        said = source(
            (rows, length, length), query=view.query(0, length), key=view.key(length), **self._told(source, view)
        )
        return np.broadcast_to(said, (rows, length, length))

    def _told(self, source: Source, view: View) -> dict[str, Told]:
        """The named values that the source of a head asks for."""
        return {name: Told(self.values.everywhere(name, view)) for name in source.values}


def _for_groups(heads: Floats, shared: Floats) -> Floats:  # for: grouped
    """`heads` [batch, head, row, …] times what their groups share, [batch, group, …, column]."""
    batch, count, rows, _ = heads.shape
    groups = shared.shape[1]
    together = heads.reshape(batch, groups, count // groups * rows, -1) @ shared
    return together.reshape(batch, count, rows, -1)


class MLP:
    """The neurons of a layer: when each fires (IN) and what it then writes (OUT)."""

    def __init__(self, plan: Plan, layer: int):
        at, weights = f"L{layer:02d}", plan.weights
        self.norm = Norm(plan, f"{at}.LN2")
        self.behind = Norm(plan, f"{at}.MLP.LN")  # for: norms behind
        self.activation = ACTIVATIONS[plan.config.activation]
        self.w_in = weights[f"{at}.N*.IN"]  # for: not gated
        self.b_in = weights[f"{at}.N*.IN.bias"]  # for: not gated, neuron bias
        self.b_in = np.zeros(plan.config.neurons, np.float32)  # for: not gated, not neuron bias
        self.w_gate, self.w_up = weights[f"{at}.N*.GATE"], weights[f"{at}.N*.UP"]  # for: gated
        self.b_gate, self.b_up = weights[f"{at}.N*.GATE.bias"], weights[f"{at}.N*.UP.bias"]  # for: gated, neuron bias
        self.w_out = weights[f"{at}.N*.OUT"]
        self.b_out = _bias(plan, f"{at}.MLP.B")  # for: write bias
        self.b_out = np.zeros(plan.config.model, np.float32)  # what means in their place write  # for: not write bias
        reads, writes = plan.neurons(layer, "IN"), plan.neurons(layer, "OUT")
        self.fires = [(neuron, how) for neuron, how in reads if isinstance(how, Source)]
        self.writes = [(neuron, how) for neuron, how in writes if isinstance(how, Source)]
        self.told = [neuron for neuron, _ in reads]  # the neurons that do not read their weights  # for: gated
        self.b_in = np.zeros(plan.config.neurons, np.float32)  # what those fire  # for: gated
        if reads:  # for: not gated
            self.w_in = _without(self.w_in, [neuron for neuron, _ in reads], axis=1)
            self.b_in = self.b_in.copy()
        sums = [(neuron, how) for neuron, how in reads if isinstance(how, Sum)]
        self.sums = Sums(plan.values, sums)
        for neuron, how in reads:
            if isinstance(how, Sum):
                self.b_in[neuron] = how.bias
            elif isinstance(how, Reads):
                self.w_in[:, neuron], self.b_in[neuron] = how.weight, how.bias  # for: not gated
                raise ProgramError(f"{at}.N{neuron:04d}.IN cannot be lifted: it is gated")  # for: gated
            elif not isinstance(how, Source):
                self.b_in[neuron] = how if isinstance(how, float | int) else plan.mean(f"{at}.IN")[neuron]
        if writes:
            self.w_out = _without(self.w_out, [neuron for neuron, _ in writes], axis=0)
        if means := [neuron for neuron, how in writes if how == "mean"]:
            self.b_out = self.b_out + plan.mean(f"{at}.OUT")[means].sum(0)
        self.layer, self.values, self.changes = layer, plan.values, plan.changes
        self.raw_fires = any(isinstance(how, Reads) for _, how in reads) or len(reads) < plan.config.neurons

    def __call__(self, x: Floats, view: View) -> Floats:
        """What the neurons write, [batch, pos, model], given the normed residual stream `x`."""
        fires = self.products(x, view)  # for: gated
        fires = self.pre_activations(x, view)  # for: not gated
        in_blocks(self.activation, fires)  # for: not gated
        if self.layer in self.values.fired:
            view.fired[self.layer] = fires
        write = matmul(fires, self.w_out)
        write += self.b_out
        for neuron, source in (*self.writes, *self.changes.deltas.get((self.layer, "OUT"), ())):
            write += source(write.shape, here=view.here, fires=fires[..., neuron])
        write = self.behind(write, view)  # for: norms behind
        self.changes.write(self.layer, write, view.here)
        return write

    def pre_activations(self, x: Floats, view: View) -> Floats:  # for: not gated
        """How strongly the neurons are driven, [batch, pos, neuron]."""
        fires = matmul(x, self.w_in) if self.raw_fires else np.zeros((*x.shape[:2], self.w_in.shape[1]), np.float32)
        fires += self.b_in
        for neuron, source in self.fires:
            fires[..., neuron] = source(fires.shape[:2], here=view.here)
        self.sums(fires, view)
        for neuron, delta in self.changes.deltas.get((self.layer, "IN"), ()):
            fires[..., neuron] += delta(fires.shape[:2], here=view.here)
        return fires

    def products(self, x: Floats, view: View) -> Floats:  # for: gated
        """How strongly the neurons fire: what their gates let through of what they read, [batch, pos, neuron]."""
        fires, read = matmul(x, self.w_gate), matmul(x, self.w_up)
        fires += self.b_gate  # for: neuron bias
        read += self.b_up  # for: neuron bias
        in_blocks(self.activation, fires)
        fires *= read
        if self.told:
            fires[..., self.told] = self.b_in[self.told]
        for neuron, source in self.fires:
            fires[..., neuron] = source(fires.shape[:2], here=view.here)
        self.sums(fires, view)
        for neuron, delta in self.changes.deltas.get((self.layer, "IN"), ()):
            fires[..., neuron] += delta(fires.shape[:2], here=view.here)
        return fires


def unembedding(plan: Plan) -> Floats:
    """What turns the final stream into logits, [model, vocab]; it always runs raw."""
    _only_raw(plan, "UNEMB")  # for: untied
    return plan.weights["UNEMB"].T  # for: untied
    return plan.weights["EMB.TOK"].T  # for: not untied


def _only_raw(plan: Plan, address: str) -> None:
    """Raise `ProgramError` where the part at `address` has no raw statement."""
    plan.runs(address)


def _bias(plan: Plan, address: str) -> Floats:  # for: attention bias or write bias
    """A bias that is added to the residual stream: from the weights or from its source."""
    raw = plan.weights[address]
    how = plan.runs(address)
    return np.broadcast_to(how(raw.shape), raw.shape) if isinstance(how, Source) else raw


def _without(tensor: Floats, where: list[int], axis: int) -> Floats:
    """A copy with zeros at the given indices of an axis."""
    tensor = tensor.copy()
    tensor[(slice(None),) * axis + (where,)] = 0
    return tensor


# --- trying the sources out -------------------------------------------------------------------------------------------


class FewTokens:
    """A vocabulary folded into a few tokens, so that a short made-up text holds every token that a source names."""

    def __init__(self, vocabulary: TokenSets, count: int):
        self.vocabulary, self.count = vocabulary, count

    def id_of(self, text: str | int) -> int:
        """The token that `text` is folded into."""
        return self.vocabulary.id_of(text) % self.count

    def members(self, texts: tuple[str | int, ...]) -> Booleans:
        """Which tokens `texts` are folded into, with a False for no token at the end."""
        return np.isin(np.arange(self.count + 1), [self.id_of(text) for text in texts])

    def levels(self, kinds: tuple[Kind, ...]) -> tuple[Integers, Floats]:
        """A row of levels for each token that others are folded into: that of the last one that is of any kind."""
        at, rows = self.vocabulary.levels(kinds)
        folded = np.zeros((self.count + 1, len(kinds)), np.float32)
        named = np.flatnonzero(at)
        folded[named % self.count] = rows[at[named]]
        return np.arange(self.count + 1), folded


def probe(sources: list[Source], config: Config, vocabulary: TokenSets) -> None:
    """Call every source once on a short made-up text, so that a broken one is known before anything is measured.

    Raises `ProgramError` naming the part: also where a source looks at what comes later, which shows in rows that
    differ in their second half only.
    """
    view = _made_up(config, vocabulary)
    rows, length = view.ids.shape
    half = length // 2
    tri = np.tri(length, dtype=np.float32)
    given: dict[str, object] = {"here": view.here, "query": view.query(0, length), "key": view.key(length)}
    given |= {"pattern": np.broadcast_to(tri / tri.sum(1, keepdims=True), (rows, length, length))}
    given |= {"fires": np.ones((rows, length), np.float32)}
    given |= {name: Told(_made_up_numbers(view)) for source in sources for name in source.values}
    shapes = {"QK": (rows, length, length), "IN": (rows, length), "B": (config.model,)}
    for source in sources:
        shape = shapes.get(source.kind, (rows, length, config.model))
        said = np.broadcast_to(source(shape, **given), shape)
        if source.kind == "B":
            continue
        early = said[:, :half] * tri[:half] if source.kind == "QK" else said[:, :half]
        if not (early == early[:1]).all():
            raise ProgramError(f"{source.statement} depends on tokens that come later")


def probe_values(values: Values, config: Config, vocabulary: TokenSets) -> None:
    """Call every named value once on a short made-up text, where heads look at all keys alike; see `probe`."""
    view = _made_up(config, vocabulary)
    rows, length = view.ids.shape
    pattern = np.broadcast_to(np.tri(length, dtype=np.float32), (rows, config.heads, length, length))
    view.scales.update(dict.fromkeys(values.norms, 1 + _made_up_numbers(view)))
    for layer in range(config.layers):
        values.see(layer, pattern, pattern.sum(-1, keepdims=True), view, 0)
        view.fired[layer] = np.broadcast_to(_made_up_numbers(view)[..., None], (rows, length, config.neurons))
    for name, found in values.named.items():
        early = values(name, view)[:, : length // 2]
        if not (early == early[:1]).all():
            raise ProgramError(f"{found.value} depends on tokens that come later")


def _made_up(config: Config, vocabulary: TokenSets) -> View:
    """A few rows of text that differ in their second half only, in a few tokens that stand for all."""
    rows, length, few = 4, min(16, config.positions), min(5, config.vocabulary)
    ids = np.random.default_rng(0).integers(0, few, (rows, length))
    ids[:, : length // 2] = ids[0, : length // 2]
    return View(ids, 0, FewTokens(vocabulary, few))


def _made_up_numbers(view: View) -> Floats:
    """Numbers that depend on the tokens of a made-up text, [batch, pos]."""
    return (0.1 * view.ids).astype(np.float32)
