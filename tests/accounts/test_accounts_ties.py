"""Ties: what carries a variable, chosen among heads and residual positions by moving it between prompts."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace as replaced
from pathlib import Path

import pytest
import torch
from test_language import HOMES, SPELLING, encode, written

from accounts_by_hand import ACCOUNT, write_account
from checkpoints import hugging_face, in_memory
from cli_support import Workshop, pellucid
from pellucid.accounts import own_work
from pellucid.accounts.folder import Folder
from pellucid.accounts.language import Accounts, Call, spelling_of
from pellucid.accounts.measure import likeliest
from pellucid.accounts.ties import choose, find, run, stored
from pellucid.accounts.ties.carrier import HERE, Carrier
from pellucid.accounts.ties.choose import CarrierSizes
from pellucid.accounts.ties.find import Finder
from pellucid.accounts.ties.moves import Move, Moves, Outcome, states
from pellucid.accounts.ties.places import Drawing, Reliable, Start, Valued, halves, places, using
from pellucid.accounts.ties.variables import Quantity, quantities
from pellucid.accounts.uses import AccountPage, pages
from pellucid.engine.intervene import replace
from pellucid.engine.trace import trace
from pellucid.exact.model import Model
from pellucid.project.project import Project
from pellucid.subject.load import load_subject
from pellucid.zoo.village.lexicon import MEN, WOMEN

# --- moves ------------------------------------------------------------------------------------------------------------

BASES = [[3, 1, 4, 1, 5], [9, 2, 6], [5, 3, 5, 8, 9, 7, 9]]
SOURCES = [[2, 7, 1, 8], [2, 8, 1]]
CARRIERS = [
    Carrier.of(HERE, [(0, 1), (1, 0), (1, 1)]),
    Carrier.of(HERE, [(0, 0)]),
    Carrier(HERE, behind=0),
    Carrier(HERE, behind=-1),
]


def moved(model: Model, base: Sequence[int], source: Sequence[int], carrier: Carrier, back: int) -> torch.Tensor:
    """The logits behind `base`, by the engine's own verbs."""
    held = trace(model, list(source), ["L*.z", "L*.resid_*"])
    if carrier.is_token:
        return trace(model, [*base[:-back], source[-1], *base[len(base) - back + 1 :]]).logits[0, -1]
    if carrier.behind is not None:
        (name,) = carrier.addresses
        changes = [replace(name, held[name][0, -1], positions=[-back])]
    else:
        changes = [
            replace(f"L{layer:02d}.z", held[f"L{layer:02d}.z"][0, -1, head], heads=[head], positions=[-back])
            for layer, head in carrier.heads
        ]
    return trace(model, list(base), changes=changes).logits[0, -1]


@pytest.mark.parametrize("back", [1, 3])
@pytest.mark.parametrize("carrier", CARRIERS, ids=str)
def test_a_move_is_the_interchange_that_the_engine_makes(carrier: Carrier, back: int) -> None:
    model = Model(in_memory(hugging_face()))
    with torch.no_grad():
        pairs = [(base, number % 2) for number, base in enumerate(BASES)]
        logits = [moved(model, base, SOURCES[source], carrier, back) for base, source in pairs]
        said = [int(row.argmax()) for row in logits]
        wanted = [said[0], (said[1] + 1) % 11, said[2]]
        moves = [
            Move(base, len(base) - back, source, token, 0) for (base, source), token in zip(pairs, wanted, strict=True)
        ]
        asked = Moves(model, moves, states(model, SOURCES))
        first, again = asked.by([carrier, carrier])
    assert first.hits.tolist() == again.hits.tolist() == [True, False, True]
    margin = sum(float(row[token] - row[0]) for row, token in zip(logits, wanted, strict=True)) / 3
    assert first.margin == pytest.approx(margin, abs=1e-5)
    assert again.margin == pytest.approx(margin, abs=1e-5)


def test_states_are_those_at_the_ends_of_prompts() -> None:
    model = Model(in_memory(hugging_face()))
    with torch.no_grad():
        found = states(model, BASES)
        for at, base in enumerate(BASES):
            run = trace(model, base, ["L01.z", "L00.resid_post"])
            torch.testing.assert_close(found.heads[at, 1], run["L01.z"][0, -1])
            torch.testing.assert_close(found.streams[at, 0], run["L00.resid_post"][0, -1])
            assert int(found.tokens[at]) == base[-1]
            assert int(found.says[at]) == int(run.logits[0, -1].argmax())


# --- choosing ---------------------------------------------------------------------------------------------------------

SIZES = CarrierSizes(layers=3, per_layer=8, head=4, stream=32)


class Told(Moves):
    """Moves of which each gives what is expected once it has all heads that it needs, or the stream behind layer 1."""

    def __init__(self, needs: Sequence[set[tuple[int, int]]], streams: Sequence[int] = ()) -> None:
        self._needs, self._streams = needs, streams

    def __len__(self) -> int:
        return len(self._needs)

    def by(self, carriers: Sequence[Carrier]) -> list[Outcome]:
        return [self._one(carrier) for carrier in carriers]

    def _one(self, carrier: Carrier) -> Outcome:
        if carrier.behind is not None:
            return Outcome(torch.full((len(self),), carrier.behind in self._streams), 0.0)
        hits = [need <= set(carrier.heads) for need in self._needs]
        return Outcome(torch.tensor(hits), sum(len(need & set(carrier.heads)) / len(need) for need in self._needs))


def test_the_smallest_set_that_does_is_chosen() -> None:
    one = choose.best(Told([{(1, 3)}] * 100, streams=[0, 1]), HERE, SIZES, torch.Generator())
    assert (str(one.carrier), one.numbers, one.outcome.agreement) == ("L01.H03 @ here", 4, 1.0)
    later = choose.best(
        Told([{(0, head) for head in range(7)}] * 100, streams=[-1, 0, 1]), HERE, SIZES, torch.Generator()
    )
    assert (str(later.carrier), later.numbers) == ("L01.resid_post @ here", 32)
    token = choose.best(Told([{(1, 3)}] * 100, streams=[-1]), "value", SIZES, torch.Generator())
    assert str(token.carrier) == "EMB.TOK @ value"
    two = choose.best(Told([{(1, 3), (2, 0)}] * 100, streams=[1]), HERE, SIZES, torch.Generator())
    assert str(two.carrier) == "L01.H03, L02.H00 @ here"


def test_a_set_that_random_sets_come_near_gives_way_to_a_larger_one_that_they_do_not() -> None:
    many = {(layer, head) for layer in range(3) for head in range(8)}

    class Everywhere(Told):
        def _one(self, carrier: Carrier) -> Outcome:
            agrees = carrier.behind == 0 or bool(set(carrier.heads) & many)
            return Outcome(torch.full((len(self),), agrees), 0.0)

    nowhere = Told([{(1, 3)}] * 100, streams=[0])
    (clear,) = [choose.best(nowhere, HERE, SIZES, torch.Generator())]
    assert (str(clear.carrier), clear.is_clear) == ("L01.H03 @ here", True)
    every = choose.best(Everywhere([set()] * 100), HERE, SIZES, torch.Generator())
    assert (every.is_enough, every.is_clear) == (True, False)


def test_a_head_that_adds_less_than_a_point_is_left_out() -> None:
    needs = [{(0, 0)}] * 940 + [{(0, 0), (0, 1)}] * 8 + [{(2, 7), (2, 6), (2, 5), (2, 4), (2, 3), (2, 2)}] * 52
    found = choose.best(Told(needs), HERE, SIZES, torch.Generator())
    assert found.carrier.heads == ((0, 0),)


def test_heads_without_which_as_much_agrees_are_left_out() -> None:
    needs = [{(0, 0)}] * 60 + [{(0, 1), (0, 2)}] * 40
    found = choose.best(Told(needs), HERE, SIZES, torch.Generator())
    assert found.carrier.heads == ((0, 0), (0, 1), (0, 2))
    rare = choose.best(Told([{(0, 0)}] * 96 + [{(0, 1)}] * 4), HERE, SIZES, torch.Generator())
    assert rare.carrier.heads == ((0, 0),)


def test_a_set_holds_a_quarter_of_the_heads_at_most_and_no_last_stream() -> None:
    needs = [{(0, head) for head in range(7)}] * 100
    most = choose.best(Told(needs, streams=[2]), HERE, SIZES, torch.Generator())
    assert len(most.carrier.heads) <= 6
    assert most.outcome.agreement == 0.0
    assert str(choose.best(Told(needs, streams=[1]), HERE, SIZES, torch.Generator()).carrier) == "L01.resid_post @ here"


def test_random_sets_are_other_sets_of_the_same_size_at_the_same_place() -> None:
    generator = torch.Generator().manual_seed(0)
    own = Carrier.of("value", [(0, 1), (2, 2)])
    found = choose.random_sets(own, SIZES, generator)
    assert len(set(found)) == 20
    assert own not in found
    assert {(len(one.heads), one.role) for one in found} == {(2, "value")}
    assert {len(one.heads) for one in choose.random_sets(Carrier(HERE, behind=0), SIZES, generator)} == {8}
    few = CarrierSizes(layers=2, per_layer=2, head=4, stream=8)
    assert len(choose.random_sets(Carrier.of(HERE, [(0, 0)]), few, generator)) == 3


def test_the_complement_is_all_other_heads() -> None:
    others = choose.complement(Carrier.of(HERE, [(1, 1)]), SIZES)
    assert others is not None
    assert len(others.heads) == 23
    assert (1, 1) not in others.heads
    later = choose.complement(Carrier(HERE, behind=1), SIZES)
    assert later is not None
    assert {layer for layer, _ in later.heads} == {2}


# --- pairs ------------------------------------------------------------------------------------------------------------

TWO = HOMES.replace(
    "last_name(text)]\n", "last_name(text)]\n    if text.ends(' is'):\n        return SIDE[last_name(text)]\n"
)
TWO = TWO.replace('HOME = table("home.tsv")', 'HOME = table("home.tsv")\nSIDE = table("side.tsv")')
SIDES = "key\tanswer\nAda\tthe\nAnn\ton\n"
HOME = "key\tanswer\nAda\tPine\nAnn\tOak\n"


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(written(tmp_path, homes=TWO, home_tsv=HOME, side_tsv=SIDES), SPELLING)


def quantity(accounts: Accounts) -> Quantity:
    text = (accounts.folder / "homes.py").read_text(encoding="utf-8")
    (found,) = quantities([AccountPage("homes.py", ast.parse(text), text)])
    return found


def test_variables_that_files_define_alike_are_one() -> None:
    own = AccountPage("a.py", ast.parse(HOMES), HOMES)
    same = AccountPage("b.py", ast.parse(HOMES), HOMES.replace("moved=0.986", "moved=0.1"))
    text = HOMES.replace("home.tsv", "house.tsv")
    other = AccountPage("c.py", ast.parse(text), text)
    found = quantities([own, same, other])
    assert [(one.label, one.files) for one in found] == [
        ("last_name (a.py)", ("a.py", "b.py")),
        ("last_name (c.py)", ("c.py",)),
    ]
    assert found[0].rules == {"a.py:16", "b.py:16"}


def valued(drawing: Drawing, text: str) -> Valued:
    ids = encode(text)
    said = drawing.accounts.said(ids)[-1]
    assert said is not None
    rule = str(drawing.accounts.rules[said.rule])
    place = Start(0, ids, 0, len(ids) - 1, said.token, rule, rule.split(":")[0], said.values)
    return Valued(place, drawing.value(place))


def test_only_pairs_count_that_move_one_variable_and_keep_another(accounts: Accounts) -> None:
    drawing = Drawing(accounts, quantity(accounts))
    lot = [valued(drawing, text) for text in ("Ada lives in", " Ann lives in", "Ada is", " Ann is")]
    assert [one.value for one in lot] == ["Ada", "Ann", "Ada", "Ann"]
    found = drawing.pairs(lot, lot, 50, torch.Generator().manual_seed(0))
    said = {(lot.index(pair.base), lot.index(pair.source)): encode_piece(pair.token) for pair in found}
    assert said == {(0, 3): " Oak", (1, 2): " Pine", (2, 1): " on", (3, 0): " the"}


def test_only_what_is_reliable_says_what_is_expected(accounts: Accounts) -> None:
    lines = frozenset({("home.tsv", "Ada"), ("home.tsv", "Ann"), ("side.tsv", "Ann")})
    wanted = quantity(accounts)
    told = Reliable(wanted.rules, lines)
    drawing = Drawing(accounts, wanted, told)
    lot = [valued(drawing, text) for text in ("Ada lives in", " Ann lives in", "Ada is", " Ann is")]
    found = drawing.pairs(lot, lot, 50, torch.Generator().manual_seed(0))
    assert {(lot.index(pair.base), lot.index(pair.source)) for pair in found} == {(0, 3), (1, 2), (2, 1)}
    one_rule = Drawing(accounts, wanted, replaced(told, rules=frozenset({lot[0].place.rule})))
    found = one_rule.pairs(lot, lot, 50, torch.Generator().manual_seed(0))
    assert {(lot.index(pair.base), lot.index(pair.source)) for pair in found} == {(0, 3), (1, 2)}


def test_a_rule_or_line_that_is_often_wrong_is_not_reliable() -> None:
    def place(rule: str, line: tuple[str, str], right: bool) -> Start:
        return Start(0, [], 0, 0, 0, rule, "a.py", {}, (line,), right)

    known, guess, rare = ("home.tsv", "Ada"), ("home.tsv", "Ann"), ("home.tsv", "Tom")
    found = [place("a.py:1", known, True)] * 60 + [place("a.py:1", guess, False)] * 3 + [place("a.py:2", rare, True)]
    told = Reliable.of([*found, *[place("a.py:3", known, False)]])
    assert told.rules == {"a.py:1", "a.py:2"}
    assert told.lines == {known, rare}
    assert told.has("a.py:1", [known, rare])
    assert not told.has("a.py:1", [known, guess])
    assert not told.has("a.py:3", [])


CALLED = '''"""Says what closes."""

from .language import account, joined, table

CLOSES = table("closes.tsv")


@account
def next_token(text):
    if text.ends(" on") and text.word(3) in CLOSES:
        return CLOSES[text.word(3)]
    if text.ends(" in"):
        return text.word(2)
'''


def test_what_rules_ask_of_the_text_is_a_quantity_too(tmp_path: Path) -> None:
    found = quantities([AccountPage("closes.py", ast.parse(CALLED), CALLED)])
    assert [(one.label, one.call, one.is_variable) for one in found] == [
        ("text.word(3)", Call("word", (3,)), False),
        ("text.word(2)", Call("word", (2,)), False),
    ]
    assert [one.rules for one in found] == [{"closes.py:11"}, {"closes.py:13"}]
    accounts = Accounts(written(tmp_path, closes=CALLED, closes_tsv="key\tanswer\nAda\tPine\nAnn\tOak\n"), SPELLING)
    drawing = Drawing(accounts, found[0])
    lot = [valued(drawing, text) for text in ("Ada lives on", " Ann is on")]
    assert [one.value for one in lot] == ["Ada", "Ann"]
    row = accounts.row(lot[0].place.own)
    said = accounts.supposing(row, {Call("word", (3,)): "Ann"})
    assert said is not None
    assert said.answer == "Oak"
    assert accounts.supposing(row, {Call("word", (2,)): "Ann"}) == accounts.supposing(row, {})
    assert accounts.supposing(row, {}, only="other.py") is None
    assert drawing.stands(lot[0], lot[1]) == 0


def test_a_value_stands_once_or_more_often(accounts: Accounts) -> None:
    drawing = Drawing(accounts, quantity(accounts))
    assert drawing.once(valued(drawing, " Ann. Ada lives in"))
    assert not drawing.once(valued(drawing, "Ada. Ada lives in"))


def encode_piece(token: int) -> str:
    return SPELLING.pieces[token]


def test_a_value_stands_where_another_written_instead_becomes_the_variable(tmp_path: Path) -> None:
    first = TWO.replace("text.last(HOME)", "text.first(HOME)")
    accounts = Accounts(written(tmp_path, homes=first, home_tsv=HOME, side_tsv=SIDES), SPELLING)
    drawing = Drawing(accounts, quantity(accounts))
    base, source = valued(drawing, "Ada. Ann Ada lives in"), valued(drawing, " Ann is")
    assert drawing.stands(base, source) == 0
    assert drawing.stands(source, base) == 0


def test_places_are_where_a_rule_begins_and_the_model_says_so(accounts: Accounts) -> None:
    row = encode("Ada lives in Pine<end> Ann is on")
    ids = torch.tensor([row])
    says = torch.zeros_like(ids)
    says[0, 2], says[0, 6] = encode(" Pine")[0], encode(" x")[0]
    assert [place.right for place in places(accounts, ids, says)] == [True, False]
    says[0, 6] = encode(" on")[0]
    both = places(accounts, ids, says)
    assert [(place.right, place.lines) for place in both] == [
        (True, (("home.tsv", "Ada"),)),
        (True, (("side.tsv", "Ann"),)),
    ]
    assert [place.own for place in both] == [encode("Ada lives in"), encode(" Ann is")]
    assert [place.text for place in both] == [0, 1]
    assert using(both, quantity(accounts)) == both
    one, other = halves(both, torch.Generator().manual_seed(0))
    assert {place.text for place in one} & {place.text for place in other} == set()


# --- the village ------------------------------------------------------------------------------------------------------

PEOPLE = '''"""What people have."""

from .language import account, table, variable

HOME = table("home.tsv")
FEAR = table("fear.tsv")
PET = table("pet.tsv")


@variable()
def who(text):
    return text.last(HOME)


@account
def next_token(text):
    if text.ends(" lives in"):
        return HOME[who(text)]
    if text.ends(" afraid of"):
        return FEAR[who(text)]
    if text.ends(" keeps a"):
        return PET[who(text)]
'''
ASKS = {"home": "{} lives in", "fear": "{} is afraid of", "pet": "{} keeps a"}


def test_the_person_asked_about_is_tied_to_one_head_of_the_village(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "PAIRS", 200)
    model = Model(load_subject("zoo:village"))
    names = [*WOMEN, *MEN]
    prompts = [ask.format(name) for ask in ASKS.values() for name in names]
    with torch.no_grad():
        says = [
            model.tokenizer.decode([token]).strip() for token in states(model, opened(model, prompts)).says.tolist()
        ]
    tables = {
        f"{name}_tsv": "key\tanswer\n" + "".join(f"{a}\t{b}\n" for a, b in zip(names, says[at:], strict=False))
        for name, at in zip(ASKS, range(0, len(prompts), len(names)), strict=True)
    }
    tokenizer = model.tokenizer
    accounts = Accounts(
        written(tmp_path, people=PEOPLE, **tables), spelling_of(tokenizer, model.n_vocab, tokenizer.kind == "words")
    )
    texts = [f"Boris met {prompt.split()[0]}. {prompt}" for prompt in prompts]
    rows = opened(model, texts)
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[tokenizer.eos_id] * (longest - len(row))] for row in rows])
    found = places(accounts, ids, likeliest(model, ids, "reading"))
    (wanted,) = quantities([AccountPage("people.py", ast.parse(PEOPLE), PEOPLE)])
    with torch.no_grad():
        tie = Finder(model, accounts, found, seed=0).tie(wanted)
    assert not tie.why, (tie.why, len(found))
    assert str(tie.carrier) == "L02.H00 @ here"
    assert tie.agreement.n == 200
    assert tie.agreement.value is not None
    assert tie.agreement.value >= 0.9
    assert tie.random.value is not None
    assert tie.random.value < 0.2
    assert set(tie.rules) == {"people.py:18", "people.py:20", "people.py:22"}


def opened(model: Model, texts: Sequence[str]) -> list[list[int]]:
    return [model.tokenizer.opened(text) for text in texts]


# --- in a project -----------------------------------------------------------------------------------------------------

KNOWN = {
    "tie": "L00.H01 @ here",
    "role": "here",
    "set": ["L00.H01"],
    "agreement": {"value": 0.98765, "low": 0.95, "high": 0.99, "n": 250},
    "random": {"value": 0.1, "low": 0.05, "high": 0.15, "n": 250},
    "complement": {"value": 0.0, "low": 0.0, "high": 0.01, "n": 250},
    "chosen": {"value": 1.0, "low": 0.98, "high": 1.0, "n": 250},
    "sources": "rules that use it",
    "prompts": 100,
    "rules": {},
    "why": None,
}


def test_a_tie_stands_above_its_variable_and_all_else_stays() -> None:
    text = ACCOUNT.replace(
        '@variable(tie="L00.H01 @ here", moved=0.75)', '@variable(\n    tie="L00.H00 @ here",\n)  # tied'
    )
    page = AccountPage("next.py", ast.parse(text), text)
    (one,) = quantities([page])
    new = '@variable(tie="L00.H01 @ here", moved=0.988)'
    assert stored.tied(page, [(one, KNOWN)]) == ACCOUNT.replace(
        '@variable(tie="L00.H01 @ here", moved=0.75)', f"{new}  # tied"
    )
    rare = KNOWN | {"agreement": KNOWN["agreement"] | {"value": 0.3}}  # type: ignore[operator]
    assert "@variable()  # tied" in stored.tied(page, [(one, rare)])
    assert stored.told(KNOWN | {"tie": None, "agreement": {"value": None}}) == "variable()"


def test_too_little_text_is_no_tie_and_is_said(workshop: Workshop) -> None:
    write_account(workshop)
    answer = pellucid("accounts", workshop.made, "--ties", "--json")
    assert answer.code == 0, answer.err
    told = answer.json["variables"]["said_last"]
    assert told["tie"] == "L00.H01 @ here"
    assert told["measured"]["tie"] is None
    assert told["measured"]["agreement"]["value"] is None
    assert "too few" in told["measured"]["why"] or "are needed" in told["measured"]["why"]
    assert "said_last: no tie, " in answer.err
    assert "said_last: no tie, " in pellucid("accounts", workshop.made).out


def keep(workshop: Workshop) -> Project:
    """A project whose only variable has a tie that was measured."""
    project = Project.open(workshop.made)
    folder = Folder(project)
    (one,) = quantities(pages(folder))
    run._keep(project, folder, one, KNOWN)
    return project


def test_ties_are_written_into_files_that_nobody_changed(workshop: Workshop) -> None:
    write_account(workshop)
    project = keep(workshop)
    path = workshop.made / "program" / "accounts" / "next.py"
    assert run.ties(project)["left"] == []
    assert path.read_text(encoding="utf-8") == ACCOUNT
    own_work.write(project, "next.py", ACCOUNT)
    found = run.ties(project)["variables"]["said_last"]
    assert (found["moved"], found["measured"]["agreement"]["n"]) == (0.988, 250)
    assert 'tie="L00.H01 @ here", moved=0.988' in path.read_text(encoding="utf-8")
    assert own_work.is_own(project, "next.py")


def test_ties_stand_in_the_figures_and_are_looked_for_once(workshop: Workshop) -> None:
    write_account(workshop)
    first = pellucid("accounts", workshop.made, "--json").json
    assert first["variables"]["said_last"]["measured"] is None
    count = Project.open(workshop.made).readings.count
    keep(workshop)
    again = pellucid("accounts", workshop.made, "--ties", "--json").json
    assert again["variables"]["said_last"]["measured"] == KNOWN
    assert again["all"] == first["all"]
    project = Project.open(workshop.made)
    assert project.readings.count == count
    assert project.report()["accounts"]["variables"] == again["variables"]
    own_work.write(project, "next.py", ACCOUNT.replace('tie="L00.H01 @ here", moved=0.75', ""))
    measured = pellucid("accounts", workshop.made, "--json").json
    count = Project.open(workshop.made).readings.count
    tied = pellucid("accounts", workshop.made, "--ties", "--json").json
    assert tied["variables"]["said_last"]["tie"] == "L00.H01 @ here"
    assert tied["symbols"] == again["symbols"] > measured["symbols"]
    assert tied["rules"] == measured["rules"]
    assert Project.open(workshop.made).readings.count == count
    said = pellucid("accounts", workshop.made).out
    assert (
        "said_last: L00.H01 @ here moves it in 98.8 % [95.0, 99.0] of 250 pairs of 100 prompts; best random set 10.0 %"
        in said
    )


def test_without_time_all_variables_are_left(workshop: Workshop) -> None:
    write_account(workshop)
    project = Project.open(workshop.made)
    assert run.ties(project, seconds=0.0)["left"] == ["said_last"]
