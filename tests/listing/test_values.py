"""Kinds of tokens, named values, and neurons that sum them: what they say, what is refused, how they are counted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from emitted import Project, some_ids

from pellucid.base.address import Address
from pellucid.base.errors import SourceError
from pellucid.exact.model import Taps
from pellucid.listing import pages
from pellucid.listing.count import count_program, count_shares, count_values
from pellucid.listing.parse import read_program
from printed import write_content, write_statements, write_values, write_words

IDS = some_ids(11, 3, 13)
WORDS = '''"""Kinds of tokens."""

from .prelude import kind

names = kind({1.0: ("w1", "w2"), 0.5: ("w3",)})
verbs = kind({0.9: ("w4", 5), -0.3: ("w6",)})
'''
LEVELS = {"names": {1: 1.0, 2: 1.0, 3: 0.5}, "verbs": {4: 0.9, 5: 0.9, 6: -0.3}}
FIRST = '''@value
def who(here, seen):
    """Names, here and as a head sees them."""
    return 0.3 * names(here.token) - 0.2 * verbs(here.previous) + 0.5 * seen(0, 1, names) + seen(0, 1, verbs, 1)


'''
SECOND = '''@value
def said(who, seen, here):
    """Speech after names."""
    return where(here.position > 2, 1.1 * who + 2.0 * seen(0, 0, names, 2) - seen(1, 1, verbs), 0.25)


'''
FIRE = 'linear("L00.N0003.IN", 0.5, who=-2.0)'
NEURON, OTHER = Address("IN", 1, 12), Address("IN", 0, 3)


def furnish(project: Project) -> None:
    """Write kinds, two values and two neurons that sum them by hand."""
    project.write("words.py", WORDS)
    project.replace("layer_00.py", 'raw("L00.N*.IN")', f'{FIRST}{FIRE}\nraw("L00.N*.IN")')
    neuron = 'linear("L01.N0012.IN", -0.31, said=0.8, who=-0.4)\n'
    project.replace("layer_01.py", 'raw("L01.N*.IN")', f'{SECOND}{neuron}raw("L01.N*.IN")')
    for file in ("layer_00.py", "layer_01.py"):
        imports = "from .prelude import linear, raw, source, value, where\nfrom .words import names, verbs"
        project.replace(file, "from .prelude import raw", imports)


def level(kind: str, back: int = 0) -> np.ndarray:
    """How much each token of `IDS`, or the one `back` before it, is of a kind."""
    levels = np.array([LEVELS[kind].get(id, 0.0) for id in range(11)])[IDS]
    return np.concatenate([np.zeros((3, back)), levels[:, : 13 - back]], 1)


def by_hand(pattern: Callable[[int, int], np.ndarray]) -> dict[str, np.ndarray]:
    """The two values, from the patterns [batch, query, key] by layer and head."""

    def seen(layer: int, head: int, kind: str, back: int = 0) -> np.ndarray:
        return np.einsum("bqk,bk->bq", pattern(layer, head), level(kind, back))

    who = 0.3 * level("names") - 0.2 * level("verbs", 1) + 0.5 * seen(0, 1, "names") + seen(0, 1, "verbs", 1)
    said = np.where(np.arange(13) > 2, 1.1 * who + 2 * seen(0, 0, "names", 2) - seen(1, 1, "verbs"), 0.25)
    return {"who": who, "said": said}


def wanted(project: Project, *, scores: float | None = None) -> np.ndarray:
    """Logits of the subject with both neurons replaced, layer by layer; with all scores replaced where given."""
    model, edits = project.exact(), {}
    ids = torch.from_numpy(IDS)
    if scores is not None:
        edits |= {f"L{n:02d}.scores": lambda x: torch.full_like(x, scores) for n in range(2)}
    for layer, index in ((0, 3), (1, 12)):
        found = model.forward(ids, Taps(record=["L*.pattern"], replace=edits)).activations
        values = by_hand(lambda n, head, found=found: found[f"L{n:02d}.pattern"][:, head].numpy())
        said = [0.5 - 2 * values["who"], -0.31 + 0.8 * values["said"] - 0.4 * values["who"]][layer]
        edits[f"L{layer:02d}.pre"] = put(index, said)
    return model.forward(ids, Taps(replace=edits)).logits.numpy()


def put(neuron: int, value: np.ndarray) -> Callable[[torch.Tensor], torch.Tensor]:
    """Replace the pre-activations of a neuron."""

    def edit(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[..., neuron] = torch.from_numpy(value).to(x)
        return x

    return edit


# --- what they say ----------------------------------------------------------------------------------------------------


def test_a_program_sums_values_as_by_hand(project: Project) -> None:
    furnish(project)
    raw = project.load().logits(IDS)
    np.testing.assert_allclose(raw, project.exact().logits(torch.from_numpy(IDS)).numpy(), atol=2e-5)  # residuals on
    project.dropped(str(NEURON), str(OTHER))
    program = project.load()
    np.testing.assert_allclose(program.logits(IDS), wanted(project), atol=2e-5)
    assert np.abs(program.logits(IDS) - raw).max() > 1e-3


def test_a_token_at_a_time_is_the_same(project: Project) -> None:
    furnish(project)
    project.dropped(str(NEURON), str(OTHER))
    program = project.load()
    whole, cache, pieces = program.logits(IDS), None, []
    for first, last in ((0, 4), (4, 5), (5, 6), (6, 11), (11, 13)):
        logits, cache = program.extend(IDS[:, first:last], cache)
        pieces.append(logits)
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole, atol=2e-5)


@pytest.mark.parametrize("norm", ["l0_ln1", "l0_ln2", "l1_ln1", "l1_ln2"])
def test_a_value_may_be_divided_by_what_a_norm_divides_by(project: Project, norm: str) -> None:
    project.write("words.py", WORDS)
    value = f"@value\ndef share({norm}, here):\n    return names(here.token) / {norm}\n\n\n"
    imports = "from .prelude import linear, raw, value\nfrom .words import names"
    project.replace("layer_01.py", "from .prelude import raw", imports)
    line = 'linear("L01.N0012.IN", 0.2, share=-3.0)'
    project.replace("layer_01.py", 'raw("L01.N*.IN")', f'{value}{line}\nraw("L01.N*.IN")')
    project.dropped(str(NEURON))
    model, ids = project.exact(), torch.from_numpy(IDS)
    name = norm.upper().replace("L", "L0", 1).replace("_", ".") + ".scale"
    scale = model.forward(ids, Taps(record=[name])).activations[name][..., 0].numpy()
    edits = {"L01.pre": put(12, 0.2 - 3 * level("names") / scale)}
    program = project.load()
    np.testing.assert_allclose(program.logits(IDS), model.forward(ids, Taps(replace=edits)).logits.numpy(), atol=2e-5)
    _, cache = program.extend(IDS[:, :7])
    later = program.extend(IDS[:, 7:], cache)[0]
    np.testing.assert_allclose(later, program.logits(IDS)[:, 7:], atol=2e-5)
    assert count_values(read_program(project.directory))["share"] == 0


def test_a_value_that_waits_for_the_next_norm_is_not_for_its_own_neurons(project: Project) -> None:
    furnish(project)
    project.replace("layer_00.py", "def who(here, seen):", "def who(here, seen, l1_ln1):")
    with pytest.raises(SourceError, match="who"):
        read_program(project.directory)


def test_queries_in_chunks_see_the_same(make: Callable[..., Project]) -> None:
    project = make(n_positions=150)
    furnish(project)
    project.dropped(str(NEURON), str(OTHER))
    program, ids = project.load(), some_ids(11, 2, 150)
    whole = program.logits(ids)
    _, cache = program.extend(ids[:, :131])
    rest, _ = program.extend(ids[:, 131:], cache)
    np.testing.assert_allclose(rest, whole[:, 131:], atol=2e-5)
    view = program.sources._view(ids, 0, program.sources.vocabulary)
    stream = program.model.embed(view)
    attention = program.model.layers[0][0]
    attention(attention.norm(stream, view), view, np.empty((2, 150, 16), np.float32))
    found = project.exact().forward(torch.from_numpy(ids), Taps(record=["L00.pattern"])).activations
    pattern = found["L00.pattern"][:, 1].numpy()
    levels = np.array([LEVELS["names"].get(id, 0.0) for id in range(11)])[ids]
    (column,) = (n for n, (_, back) in enumerate(program.model.plan.values.asked[0, 1]) if back == 0)
    np.testing.assert_allclose(view.seen[0, 1][..., column], np.einsum("bqk,bk->bq", pattern, levels), atol=1e-5)


def test_a_program_of_sources_alone_sees_by_its_own_patterns(project: Project) -> None:
    from test_sources import means

    from pellucid.listing.emit import emit

    emit(project.subject, project.directory, means(project.exact()))
    furnish(project)
    project.source("L00.H01.QK", "3.0 * names(query.token) * verbs(key.token)")
    project.replace("layer_00.py", "import constants,", "import constants, linear, value,")
    program = project.load("code")
    assert sorted(program.model.plan.values.asked) == [(0, 0), (0, 1), (1, 1)]
    scores = 3 * level("names")[:, :, None] * level("verbs")[:, None]
    scores = np.where(np.tri(13, dtype=bool), scores, -np.inf)
    sharp = np.exp(scores - scores.max(-1, keepdims=True))
    sharp /= sharp.sum(-1, keepdims=True)
    even = np.broadcast_to(np.tri(13) / np.arange(1, 14)[:, None], (3, 13, 13))
    values = by_hand(lambda layer, head: sharp if (layer, head) == (0, 1) else even)
    view = program.sources._view(IDS, 0, program.sources.vocabulary)
    held = np.empty((2, 3, 13, 16), np.float32)
    stream = program.model.embed(view)
    for n, (attention, mlp) in enumerate(program.model.layers):
        stream = stream + attention(attention.norm(stream, view), view, held[n])
        pre = mlp.pre_activations(mlp.norm(stream, view), view)
        said = [0.5 - 2 * values["who"], -0.31 + 0.8 * values["said"] - 0.4 * values["who"]][n]
        np.testing.assert_allclose(pre[..., (3, 12)[n]], said, atol=1e-5)
        stream = stream + mlp(mlp.norm(stream, view), view)


def test_values_that_nothing_runs_cost_nothing(project: Project) -> None:
    furnish(project)
    assert not project.load().model.plan.values.asked
    project.dropped(str(OTHER))
    assert set(project.load().model.plan.values.asked) == {(0, 1)}


def test_a_listing_has_kinds_and_values(project: Project) -> None:
    furnish(project)
    listing = read_program(project.directory)
    assert {name: kind.levels for name, kind in listing.kinds.items()} == {
        "names": {1.0: ("w1", "w2"), 0.5: ("w3",)},
        "verbs": {0.9: ("w4", 5), -0.3: ("w6",)},
    }
    assert list(listing.values) == ["who", "said"]
    assert [(s.layer, s.head, s.what, s.steps) for s in listing.values["said"].seen] == [
        (0, 0, "names", 2), (1, 1, "verbs", 0),
    ]  # fmt: skip
    statement = listing[NEURON]
    assert (statement.form, statement.part_form, statement.bias) == ("linear", "source", -0.31)
    assert statement.terms == {"said": 0.8, "who": -0.4}
    assert listing.values_of(statement) == ["who", "said"]
    assert listing.values_of(listing[OTHER]) == ["who"]


TWICE = "@value\ndef twice(who):\n    return 2.0 * who\n\n\n"


def test_values_may_share_a_number(project: Project) -> None:
    """−0.31 + 0.8 (said + twice) − 0.4 who, written with 0.8 once, is what it is written apart."""
    furnish(project)
    apart = 'linear("L01.N0012.IN", -0.31, said=0.8, twice=0.8, who=-0.4)'
    project.replace("layer_01.py", 'linear("L01.N0012.IN", -0.31, said=0.8, who=-0.4)', f"{TWICE}{apart}")
    project.dropped(str(NEURON), str(OTHER))
    logits, held = project.load().logits(IDS), count_program(read_program(project.directory))
    together = pages.linear(str(NEURON), -0.31, {"said": 0.8, "twice": 0.8, "who": -0.4})
    assert together == 'linear("L01.N0012.IN", -0.31, {0.8: (said, twice)}, who=-0.4)'
    project.replace("layer_01.py", apart, together)
    statement = read_program(project.directory)[NEURON]
    assert statement.terms == {"said": 0.8, "twice": 0.8, "who": -0.4}
    assert count_program(read_program(project.directory))[NEURON] == held[NEURON] - 1
    np.testing.assert_allclose(project.load().logits(IDS), logits, atol=1e-5)


@pytest.mark.parametrize(
    ("apart", "together", "saved"),
    [
        ("fired(0, {3: 0.5, 7: 0.5, 2: -1.5})", "fired(0, {0.5: (3, 7), -1.5: (2,)})", 1),
        ("0.5 * seen(0, 1, names) + 0.5 * seen(0, 1, verbs)", "seen(0, 1, {0.5: (names, verbs)})", 1),
        ("0.5 * names(here.token) + 0.5 * who", "0.5 * (names(here.token) + who)", -1),  # each of them counts
        ("0.5 * names(here.token) - 0.5 * who", "-(who - names(here.token)) / 2", -1),
    ],
)
def test_what_values_sum_may_share_a_number(project: Project, apart: str, together: str, saved: int) -> None:
    furnish(project)
    asked = [name for name in ("fired", "seen", "here", "who") if name in apart]
    value = f"@value\ndef active({', '.join(asked)}):\n    return {apart}\n\n\n"
    line = 'linear("L01.N0012.IN", -0.31, said=0.8'
    project.replace("layer_01.py", line, value + line.replace("said=", "active="))
    project.dropped(str(NEURON))
    logits, listing = project.load().logits(IDS), read_program(project.directory)
    project.replace("layer_01.py", apart, together)
    shared = read_program(project.directory)
    np.testing.assert_allclose(project.load().logits(IDS), logits, atol=1e-5)
    assert count_values(shared)["active"] == count_values(listing)["active"] - saved
    assert shared.values["active"].fired == listing.values["active"].fired
    assert set(shared.values["active"].seen) == set(listing.values["active"].seen)


HELPER = "def both(one, other):\n    return one + other\n\n\n"
TOLD = "def they(here):\n    return verbs(here.token)\n\n\n"


@pytest.mark.parametrize(
    ("before", "body"),
    [
        ("", "    return 0.5 * (names(here.token) + who + verbs(here.token))"),
        ("", "    a = names(here.token)\n    b = who\n    c = verbs(here.token)\n    return 0.5 * (a + b + c)"),
        ("", "    a = names(here.token) + who\n    a += verbs(here.token)\n    return 0.5 * a"),
        (HELPER, "    return 0.5 * both(who + names(here.token), verbs(here.token))"),
        (TOLD, "    return 0.5 * (they(here) + names(here.token) + who)"),
        ("", "    return (who - (-verbs(here.token)) + names(here.token)) / 2"),
    ],
)
def test_terms_behind_one_number_count_each(project: Project, before: str, body: str) -> None:
    furnish(project)
    line = 'linear("L01.N0012.IN", -0.31, said=0.8'
    value = f"{before}@value\ndef active(here, who):\n{body}\n\n\n"
    project.replace("layer_01.py", line, value + line.replace("said=", "active="))
    assert count_values(read_program(project.directory))["active"] == 1 + 3


# --- how they are counted ---------------------------------------------------------------------------------------------


def test_values_and_kinds_are_shared_by_those_that_use_them(project: Project) -> None:
    furnish(project)
    listing = read_program(project.directory)
    assert count_values(listing) == {"who": 8, "said": 9}
    held = count_program(listing)
    # names: 2 levels and 3 tokens; verbs: 2 levels, 3 tokens; both neurons use both; who is used by both
    assert held[OTHER] == 3 + 9  # 8 / 2 + 5 / 2 + 5 / 2
    assert held[NEURON] == 5 + 9 + 9
    assert {address: count_program(listing, {address})[address] for address in held} == held  # counted alone


def test_what_nobody_uses_is_nobodys_and_sums_are_never_below(project: Project) -> None:
    furnish(project)
    project.replace("layer_01.py", "said=0.8, who=-0.4", "who=-0.4")
    listing = read_program(project.directory)
    assert count_values(listing) == {"who": 8}
    assert sum(count_shares(listing).values()) >= 8 + 5 + 5
    project.source("L00.H00.QK", "names(key.token)")
    held = count_program(read_program(project.directory))
    assert held[Address("QK", 0, 0)] == 0 + 2  # a third of 5


@pytest.mark.parametrize(
    ("table", "numbers"),
    [
        ("{1.0: ('w1',)}", 2),
        ("{1.0: ('w1', 'w2', 'w3'), 2: ('w4',), 3: (5,)}", 3 + 5),
        ("{1.123456789123456: ('w1',)}", 1 + 2 + 1),
        ("{1.0: ('w1', 123456)}", 1 + 1 + 2),
        ("{1.0: ('one long text that is no token at all',)}", 1 + 19),
    ],
)  # fmt: skip
def test_levels_and_tokens_are_counted(project: Project, table: str, numbers: int) -> None:
    furnish(project)
    project.replace("words.py", '{1.0: ("w1", "w2"), 0.5: ("w3",)}', table)
    before = count_shares(read_program(project.directory))[OTHER]
    project.replace("words.py", table, "{1.0: ('w1',)}")
    after = count_shares(read_program(project.directory))[OTHER]
    assert before - after == -(-numbers // 2) - 1


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("names = kind({1.0: ('w1',)})", "names is defined twice"),
        ("more = kind({1.0: ('w1',), 2.0: ('w1',)})", "the token 'w1' is named twice"),
        ("more = kind({1.0: ('w1',), 1: ('w2',)})", "the level 1.0 is named twice"),
        ("more = kind({})", "no token is named"),
        ("more = kind({1.0: ()})", "expected tokens"),
        ("more = kind({1.0: ('w1', 0.5)})", "expected tokens"),
        ("more = kind({1.0: 'w1'})", "expected tokens"),
        ("more = kind({LEVEL: ('w1',)})", "the level LEVEL is not a number"),
        ("more = kind({1e999: ('w1',)})", "is not a number"),
        ("More = kind({1.0: ('w1',)})", "More is not in lower case"),
        ("where = kind({1.0: ('w1',)})", "where is a word of the language"),
        ("here = kind({1.0: ('w1',)})", "here is a word of the language"),
        ("TABLE = [1, 2, 3]", "expected NAME = kind"),
        ("import os", "expected NAME = kind"),
        ("print(3)", "expected NAME = kind"),
    ],
)
def test_words_that_are_no_kinds_are_refused(project: Project, line: str, said: str) -> None:
    project.write("words.py", f"{WORDS}{line}\n")
    with pytest.raises(SourceError, match=rf"words.py:7: .*{said}"):
        read_program(project.directory)


def test_a_token_that_is_named_by_text_and_id_is_refused(project: Project) -> None:
    furnish(project)
    project.replace("words.py", '0.5: ("w3",)', '0.5: ("w3", 1)')
    with pytest.raises(SourceError, match=r"words.py:5: the kind names the token 1 twice"):
        project.load()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "def more(here, nobody):\n    return 0.5",
            "more asks for nobody; it may ask for here, seen, fired, scales such as l0_ln2, and values",
        ),
        ("def more(later):\n    return later\n\n\n@value\ndef later(here):\n    return 1.0", "more asks for later"),
        ("def more(query):\n    return 0.5", "more asks for query"),
        ("def more(l1_ln2):\n    return 1 / l1_ln2", "more asks for l1_ln2; it may ask for the scales of norms of its"),
        ("def more(l2_ln1):\n    return 1 / l2_ln1", "more asks for l2_ln1; it may ask for the scales of norms of its"),
        ("def l0_ln1(here):\n    return 0.5", "l0_ln1 means something else"),
        ("def more(l1_ln1):\n    return l1_ln1(here)", "l1_ln1 is a value here, not a function|here is not known"),
        ("def who(here):\n    return 0.5", "who is defined twice|who stands at layer_00.py"),
        ("def names(here):\n    return 0.5", "names is defined twice"),
        ("def seen(here):\n    return 0.5", "seen means something else"),
        ("def more(seen):\n    return seen(1, 0, names)", "more sees by head 0 of layer 1"),
        ("def more(seen):\n    return seen(0, 2, names)", "more sees by head 2 of layer 0"),
        ("def more(seen):\n    return seen(0, 1, where)", "where is no kind that is imported"),
        ("def more(seen, here):\n    return seen(0, here.position, names)", "expected seen"),
        ("def more(seen):\n    return seen(0, 1, names, -1)", "expected seen"),
        ("def more(seen, here):\n    return seen(0, 1, (here, names))", "expected seen"),
        ("def more(seen):\n    return seen(0, 1, {0.5: names})", "expected seen"),
        ("def more(seen):\n    return seen(0, 1, {0.5: (names,), -1: (where,)})", "where is no kind that is imported"),
        ("def more(seen):\n    return seen(0, 2, {0.5: (names,)})", "more sees by head 2 of layer 0"),
        ("def more(seen):\n    return seen(0, 1, {0.5: (names,)}, names)", "expected seen"),
        ("def more(seen):\n    return seen(0, 1, {0.5: (names, names)})", "expected seen"),
        ("def more(fired):\n    return fired(0, {0.5: (3, 3)})", "expected fired"),
        ("def more(fired):\n    return fired(0, {0.5: (3,), 4: 0.5})", "expected fired"),
        ("def more(fired):\n    return fired(0, {0.5: (-3,)})", "expected fired"),
        ("def more(fired):\n    return fired(0, {0.5: ()})", "expected fired"),
        ("def more(fired):\n    return fired(0, {0.5: (3,), 0.25: ()})", "expected fired"),
        ("def more(fired):\n    return fired(0, {0.5: (3,), 4: [7, 7]})", "expected fired"),
        ("def more(fired):\n    return fired(0, {0.5: (3,), 'x': ()})", "expected fired"),
        ("def more(fired):\n    return fired(0, {1e999: (3,)})", "expected fired"),
        (f"def more(fired):\n    return fired(0, {{{10**400}: (3,)}})", "expected fired"),
        (f"def more(fired):\n    return fired(0, {{3: {10**400}}})", "expected fired"),
        ("def more(seen):\n    look = seen\n    return 0.5", "seen is not known here"),
        ("def more(here):\n    return seen(0, 1, names)", "seen is not known here"),
        ("def more(here):\n    return who(here, here)", "who is a named value"),
        ("def more(here):\n    return nouns(here.token)", "nouns is not known here"),
    ],
)
def test_values_that_cannot_be_are_refused(project: Project, value: str, said: str) -> None:
    furnish(project)
    project.replace("layer_00.py", FIRE, f"@value\n{value}\n\n\n{FIRE}")
    with pytest.raises(SourceError, match=rf"layer_00.py:\d+: .*({said})"):
        read_program(project.directory)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ('linear("L00.N0003.IN", 0.5, nobody=-2.0)', "reads nobody, but there is no such value"),
        ('linear("L00.N0003.IN", 0.5, said=-2.0)', r"reads said of a later layer \(layer_01.py"),
        ('linear("L00.N0003.IN", 0.5, who=1.0 / 3)', "expected linear"),
        ('linear("L00.N0003.IN", who=1.0)', "expected linear"),
        ('linear("L00.N0003.IN", 0.5, **{})', "expected linear"),
        ('linear("L00.N*.IN", 0.5, who=1.0)', "expected linear"),
        ('linear("L00.N0003.OUT", 0.5, who=1.0)', "expected linear"),
        ('linear("L01.N0003.IN", 0.5, who=1.0)', "belongs into layer_01.py"),
        ('linear("L00.N0099.IN", 0.5, who=1.0)', "names no part of this subject"),
        ('linear("L00.N0003.IN", 0.5, {1.0: (who,)}, who=2.0)', "expected linear"),
        ('linear("L00.N0003.IN", 0.5, {1.0: (who, who)})', "expected linear"),
        ('linear("L00.N0003.IN", 0.5, {1.0: who})', "expected linear"),
        ('linear("L00.N0003.IN", 0.5, {1.0: ()})', "expected linear"),
        ('linear("L00.N0003.IN", 0.5, {1e999: (who,)})', "expected linear"),
        ('linear("L00.N0003.IN", 0.5, {1.0: (who,), 1: (nobody,)})', "expected linear"),
        ('linear("L00.N0003.IN", 0.5, {1.0: (who,)}, {2.0: (nobody,)})', "expected linear"),
        ('linear("L00.N0003.IN", 0.5, {**{}})', "expected linear"),
        ('linear("L00.N0003.IN", 0.5, {who: (who,)})', "expected linear"),
        (f'linear("L00.N0003.IN", {10**400}, who=1.0)', "expected linear"),
        ('linear("L00.N0003.IN", 0.5)\nconstants("L00.IN", {3: 0.5})', "already defined"),
    ],
)
def test_sums_that_cannot_be_are_refused(project: Project, statement: str, said: str) -> None:
    furnish(project)
    project.replace("layer_00.py", FIRE, statement)
    with pytest.raises(SourceError, match=rf"layer_00.py:\d+: .*{said}"):
        read_program(project.directory)


def test_what_shares_a_number_is_defined_above(project: Project) -> None:
    furnish(project)
    project.replace("layer_01.py", "said=0.8, who=-0.4", "{0.8: (said, who)}")
    with pytest.raises(SourceError, match=r"reads who, which is not defined above on this page .*; write who=0.8"):
        read_program(project.directory)


def test_a_doubled_term_is_no_python(project: Project) -> None:
    furnish(project)
    project.replace("layer_00.py", "who=-2.0", "who=-2.0, who=1.0")
    with pytest.raises(SourceError, match=r"layer_00.py:\d+: (not Python: keyword argument repeated|expected linear)"):
        read_program(project.directory)


def test_a_value_that_looks_ahead_is_named(project: Project) -> None:
    furnish(project)
    project.replace("layer_00.py", "return 0.3 * names(here.token)", "return names(here.token).sum(-1)[..., None]")
    project.replace("layer_00.py", "- 0.2 * verbs(here.previous) + 0.5 * seen(0, 1, names) + seen(0, 1, verbs, 1)", "")
    project.replace("words.py", '"w1", "w2"', '"w1", "w2", "w0", "w7", "w9"')
    with pytest.raises(SourceError, match=r"layer_00.py:\d+: who \(value\) depends on tokens that come later"):
        project.load()


def test_a_broken_value_is_named_with_its_line(project: Project) -> None:
    furnish(project)
    project.replace("layer_00.py", "return 0.3 * names(here.token)", "return names(here.position)")
    with pytest.raises(SourceError, match=r"layer_00.py:\d+: who \(value\) raised TypeError: a kind is asked about"):
        project.load()


# --- how they are written ---------------------------------------------------------------------------------------------


def test_what_is_written_together_fits_together(project: Project) -> None:
    raw = project.read("layer_00.py")
    linear = {OTHER: FIRE, NEURON: pages.linear(str(NEURON), -0.31, {"said": 0.8, "who": -0.4})}
    write_content(project.directory, words=WORDS, values={0: [FIRST], 1: [SECOND]}, statements=linear)
    listing = read_program(project.directory)
    assert not any(value.by_person for value in listing.values.values())
    assert listing.words is not None
    assert not listing.words.by_person
    assert list(listing.values) == ["who", "said"]
    assert "linear" not in project.read("layer_00.py")
    text = project.read("described_00.py")
    assert text.index("@value") < text.index('linear("L00')
    assert "from .prelude import linear, value\nfrom .words import names, verbs\n" in text
    assert "\nin 11 numbers." in text
    project.dropped(str(NEURON), str(OTHER))
    np.testing.assert_allclose(project.load().logits(IDS), wanted(project), atol=2e-5)
    again = write_content(project.directory, words=WORDS, values={0: [FIRST], 1: [SECOND]}, statements=linear)
    assert again.written == ()
    write_statements(project.directory, {Address("IN", 0, 1): 'linear("L00.N0001.IN", 0.5, who=1.0)'})
    text = project.read("described_00.py")
    assert text.index("@value") < text.index("N0003") < text.index("N0001")
    write_values(project.directory, 1, [])
    write_values(project.directory, 0, [])
    assert read_program(project.directory)[NEURON].form == "raw"
    assert project.read("layer_00.py") == raw
    write_words(project.directory, WORDS.replace("names", "nouns"))
    assert list(read_program(project.directory).kinds) == ["nouns", "verbs"]


def test_nothing_is_written_that_does_not_fit(project: Project) -> None:
    before = project.read("layer_00.py")
    wrong = {FIRE.replace("who", "nobody"): "reads nobody", 'linear("L00.N0003.IN")': "expected linear"}
    for statement, said in wrong.items():
        with pytest.raises(SourceError, match=said):
            write_content(project.directory, words=WORDS, values={0: [FIRST]}, statements={OTHER: statement})
    assert project.read("layer_00.py") == before
    assert not (project.directory / "program" / "words.py").exists()


def test_what_a_person_wrote_of_it_is_kept(project: Project) -> None:
    write_content(project.directory, words=WORDS, values={0: [FIRST]}, statements={OTHER: FIRE})
    project.replace("described_00.py", "0.3 *", "0.7 *")
    project.replace("words.py", '"w3",', '"w3", "w7"')
    emission = write_content(
        project.directory, words=WORDS, values={0: [FIRST, FIRST.replace("who", "whom")]}, statements={OTHER: FIRE}
    )
    assert set(emission.kept) == {"words.py", "who"}
    assert "0.7 *" in project.read("described_00.py")
    assert list(read_program(project.directory).values) == ["who", "whom"]
    project.replace("described_00.py", FIRE, FIRE.replace("who", "whom") + "  # mine")
    write_values(project.directory, 0, [])
    assert list(read_program(project.directory).values) == ["who", "whom"]  # a person's neuron reads it


def test_kinds_that_are_in_use_stay(project: Project) -> None:
    write_content(project.directory, words=WORDS, values={0: [FIRST]}, statements={OTHER: FIRE})
    write_words(project.directory, WORDS.replace("verbs", "others"))
    assert list(read_program(project.directory).kinds) == ["names", "others", "verbs"]


def test_many_kinds_are_imported_in_several_lines(project: Project) -> None:
    many = [f"a_kind_with_a_long_name_{n}" for n in range(12)]
    words = "from .prelude import kind\n\n" + "".join(f"{name} = kind({{1.0: ('w1',)}})\n" for name in many)
    text = "@value\ndef all_of_them(here):\n    return " + " + ".join(f"{name}(here.token)" for name in many)
    write_content(
        project.directory, words=words, values={0: [text]}, statements={OTHER: FIRE.replace("who", "all_of_them")}
    )
    assert max(map(len, project.read("described_00.py").partition("@value")[0].splitlines())) <= 120
    write_statements(project.directory, {OTHER: None})
    project.load().check()  # it is imported, and called
    assert list(read_program(project.directory).values) == ["all_of_them"]
