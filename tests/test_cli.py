"""Every command, and every kind of bad input, through the real command line."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import checkpoints
from cli_support import Workshop, copied, furnish, lean, leftovers, own_work, pellucid, text_file
from pellucid.base.signals import Stopped
from pellucid.cli import app
from pellucid.corpus.corpus import read_corpus
from pellucid.project.project import Project
from pellucid.zoo import registry
from pellucid.zoo.village import Village

METRICS = {"wer_next", "wer_16", "top1", "kl", "ce_gap"}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    root = tmp_path_factory.mktemp("original")
    with lean(root / "state"):
        yield furnish(root / "workshop")


@pytest.fixture
def workshop(original: Workshop, tmp_path: Path) -> Iterator[Workshop]:
    with lean(tmp_path / "state"):
        yield copied(original, tmp_path / "workshop")


# --- what a subject may be --------------------------------------------------------------------------------------------


def missing_weights(at: Workshop) -> None:
    (at.subject / "model.safetensors").unlink()


def truncated_weights(at: Workshop) -> None:
    path = at.subject / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def truncated_header(at: Workshop) -> None:
    path = at.subject / "model.safetensors"
    path.write_bytes(path.read_bytes()[:40])


def wrong_shapes(at: Workshop) -> None:
    path = at.subject / "model.safetensors"
    weights = load_file(path)
    weights["transformer.h.1.mlp.c_fc.weight"] = torch.zeros(8, 31)
    save_file(weights, path)


def missing_tensor(at: Workshop) -> None:
    path = at.subject / "model.safetensors"
    save_file({name: tensor for name, tensor in load_file(path).items() if name != "transformer.wpe.weight"}, path)


def not_a_number(at: Workshop) -> None:
    path = at.subject / "model.safetensors"
    weights = load_file(path)
    weights["transformer.ln_f.bias"][3] = torch.nan
    save_file(weights, path)


def pickled(at: Workshop) -> None:
    missing_weights(at)
    (at.subject / "pytorch_model.bin").write_bytes(pickle.dumps({}))


def more_tokens_than_the_model(at: Workshop) -> None:
    (at.subject / "task.json").write_text(json.dumps({"vocab": [f"w{n}" for n in range(12)]}))


def no_tokenizer(at: Workshop) -> None:
    (at.subject / "task.json").unlink()


def unpaired_merges(at: Workshop) -> None:
    (at.subject / "vocab.json").write_text(json.dumps({"a": 0, "b": 1}))
    (at.subject / "merges.txt").write_text("#version: 0.2\na c\n")


def broken_config(at: Workshop) -> None:
    (at.subject / "config.json").write_text('{"model_type": "gpt2",\n "n_layer": }')


SUBJECTS: list[tuple[Callable[[Workshop], None], str]] = [
    (missing_weights, "has neither model.safetensors nor"),
    (truncated_weights, "bytes) is truncated or not a safetensors file"),
    (truncated_header, "model.safetensors (40 bytes) is truncated or not a safetensors file"),
    (wrong_shapes, "h.1.mlp.c_fc.weight [8, 31] not [8, 32]"),
    (missing_tensor, "missing wpe.weight"),
    (not_a_number, "NaN or infinite numbers in ln_f.bias"),
    (pickled, "pytorch_model.bin is a pickle checkpoint"),
    (more_tokens_than_the_model, "task.json does not fit its model: it has token ids up to 11"),
    (no_tokenizer, "is no token of subject; expected token ids from 0 to 10"),
    (unpaired_merges, "vocab.json and merges.txt do not fit"),
    (broken_config, "config.json is not valid JSON: Expecting value: line 2"),
    (lambda at: at.config(activation_function="snake"), "activation_function 'snake', which is not supported"),
    (lambda at: at.config(add_cross_attention=True), "not supported: add_cross_attention = True"),
    (lambda at: at.config(model_type="mamba"), "asks for model_type 'mamba'"),
    (lambda at: at.config(model_type="llama"), "config.json lacks 'hidden_size'"),
    (lambda at: at.config(n_head=3), "n_embd 8 is not a multiple of n_head 3"),
    (lambda at: at.config(n_layer=0), "n_layer is 0, expected an integer from 1"),
    (lambda at: at.config(n_layer=3), "missing h.2.attn.c_attn.weight"),
]


@pytest.mark.parametrize(("spoil", "said"), SUBJECTS, ids=[said[:40] for _, said in SUBJECTS])
def test_a_broken_subject(workshop: Workshop, spoil: Callable[[Workshop], None], said: str) -> None:
    spoil(workshop)
    assert said in workshop.decompile(workshop.fresh).complaint()
    assert not workshop.fresh.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere/at/all", "no such directory"),
        ("nobody/no-such-model", "HF_HUB_OFFLINE forbids asking the hub"),
        ("zoo:vilage", "zoo:vilage is not in the zoo"),
        ("", "no such directory"),
    ],
)
def test_a_subject_that_is_not_there(workshop: Workshop, name: str, said: str) -> None:
    assert said in pellucid("decompile", name, "-o", workshop.fresh, "--quick").complaint()
    assert not workshop.fresh.exists()


# --- what a text may be -----------------------------------------------------------------------------------------------


TEXTS: list[tuple[str, bytes | None, str]] = [
    ("none.txt", None, "there is no text file or folder"),
    ("empty.txt", b"", "holds no words"),
    ("blank.txt", b"  \n <|endoftext|> \n", "holds no words"),
    ("short.txt", b"w1 w2 w3", "has only"),
    ("book.pdf", b"%PDF", "expected plain text (.txt), lines of JSON with a `text` (.jsonl)"),
    ("latin.txt", b"w1 w2 \xe9t\xe9 w3", "is not UTF-8 text: byte 0xe9 at offset 6"),
    ("damaged.xz", b"\xfd7zXZ\x00nothing", "cannot read"),
    ("alien.txt", " ".join(f"w{n % 7} tabs{n}" for n in range(9000)).encode(), "is not in the vocabulary of random"),
]


@pytest.mark.parametrize(("name", "contents", "said"), TEXTS, ids=[name for name, _, _ in TEXTS])
def test_a_text_that_cannot_be_used(workshop: Workshop, name: str, contents: bytes | None, said: str) -> None:
    path = workshop.root / name
    if contents is not None:
        path.write_bytes(contents)
    answer = pellucid("decompile", workshop.subject, "-o", workshop.fresh, "--corpus", path, "--quick")
    assert said in answer.complaint()
    assert not workshop.fresh.exists()


def test_a_text_shorter_than_a_context(workshop: Workshop) -> None:
    short = text_file(workshop.root / "short.txt", documents=1, words=10)
    fit = ("--fit-corpus", workshop.text)
    answer = pellucid("decompile", workshop.subject, "-o", workshop.fresh, "--corpus", short, *fit, "--quick")
    assert "has 11 tokens, fewer than one context of 16" in answer.complaint()
    assert not workshop.fresh.exists()


def test_the_same_text_to_fit_and_to_measure(workshop: Workshop) -> None:
    assert (
        "given both to fit on and to measure on"
        in workshop.decompile(workshop.fresh, "--fit-corpus", workshop.text).complaint()
    )
    assert not workshop.fresh.exists()


def test_a_text_to_fit_on_alone(workshop: Workshop) -> None:
    answer = pellucid("decompile", workshop.subject, "-o", workshop.fresh, "--fit-corpus", workshop.text)
    assert "--fit-corpus is given without --corpus" in answer.complaint()
    assert not workshop.fresh.exists()


# --- where a program may go -------------------------------------------------------------------------------------------


def test_an_output_directory_that_is_not_ours(workshop: Workshop) -> None:
    workshop.fresh.mkdir()
    (workshop.fresh / "thesis.tex").write_text("years of work")
    assert "it is not ours; name another directory" in workshop.decompile(workshop.fresh).complaint()
    assert workshop.files(workshop.fresh) == {"thesis.tex": b"years of work"}


def test_an_output_directory_that_is_a_file(workshop: Workshop) -> None:
    workshop.fresh.write_text("a file")
    assert "is a file" in workshop.decompile(workshop.fresh).complaint()
    assert "a file" in workshop.decompile(workshop.fresh / "below").complaint().lower()
    assert workshop.fresh.read_text() == "a file"


@pytest.mark.parametrize("what", ["weights", "tokenizer"])
def test_an_output_directory_of_another_subject(workshop: Workshop, what: str) -> None:
    if what == "weights":
        checkpoints.write(workshop.subject, checkpoints.hugging_face(1))
    else:
        (workshop.subject / "task.json").write_text(json.dumps({"vocab": [f"v{n}" for n in range(11)]}))
    before = workshop.files()
    assert f"belongs to another subject: the {what} of" in workshop.decompile().complaint()
    assert workshop.files() == before
    assert "belongs to another subject" in pellucid("verify", workshop.made, "--quick").complaint()


@pytest.mark.parametrize("replaced", [False, True], ids=["elsewhere", "in the place of one's own"])
def test_a_stranger_s_program_does_not_run_unless_it_is_trusted(workshop: Workshop, replaced: bool) -> None:
    stranger = workshop.made if replaced else workshop.root / "stranger"
    if not replaced:
        shutil.move(workshop.made, stranger)
    said = "program/parts.py changed; running it runs what is there now" if replaced else "made here, and running it"
    witness = workshop.root / "witness"
    mischief = f"from pathlib import Path\nPath({str(witness)!r}).touch()\nraise ValueError('mischief')\n"
    (stranger / "program" / "parts.py").write_text(mischief)
    commands: list[tuple[object, ...]] = [
        ("run", stranger, "w1"),
        ("verify", stranger, "--quick"),
        ("verify", stranger, "L00.H00.QK", "--quick"),
        ("scratch", stranger, "L00.H00.QK"),
        ("check", stranger),
        ("why", stranger, "w1"),
        ("diff", stranger),
        ("edit", stranger, "--suppress", "w1"),
        ("edit", stranger, "--undo", "1"),
        ("decompile", workshop.subject, "-o", stranger, "--corpus", workshop.text, "--quick"),
    ]
    for command in commands:
        before = workshop.files(stranger)
        assert said in pellucid(*command).complaint()
        assert workshop.files(stranger) == before
        assert not witness.exists()
    assert pellucid("report", stranger).code == 0
    assert pellucid("show", stranger, "L00.H00.QK").code == 0
    assert pellucid("next", stranger).code == 0
    assert not witness.exists()
    assert "mischief" in pellucid("run", stranger, "w1", "--trust").complaint()
    assert witness.exists()


def test_a_moved_program_runs_once_it_is_trusted(workshop: Workshop) -> None:
    moved = workshop.root / "moved"
    shutil.move(workshop.made, moved)
    assert pellucid("run", moved, "w1 w2", "--trust").code == 0
    assert pellucid("run", moved, "w1 w2").code == 0


def test_names_reach_the_terminal_as_text(workshop: Workshop) -> None:
    odd = workshop.root / "x[/b]\x1b[2J\u202e"
    shutil.move(workshop.made, odd)
    symbols = odd / "symbols.tsv"
    name = "\x1b]0;mine\x07[/b]\u202e"
    line = f"L00.H00.QK\t{name}\tQK\tuser\t\t\t{name}\n"
    others = (line for line in symbols.read_text().splitlines(keepends=True) if not line.startswith("L00.H00.QK"))
    symbols.write_text("".join([*others, line]))
    answers = [
        pellucid("verify", odd, "--quick", "--trust"),
        pellucid("report", odd),
        *(pellucid("show", odd, part, *how) for part in ("L00.H00.QK", "L00") for how in ((), ("--json",))),
        pellucid("next", odd),
        pellucid("run", odd, "w1"),
        pellucid("run", odd, "w1", "--json"),
    ]
    assert [answer.code for answer in answers] == [0] * len(answers)
    refused = pellucid("run", odd, "\x1b[2J")
    assert not set("\x1b\x07\u202e") & {c for a in (*answers, refused) for c in a.out + a.err}
    assert answers[3].json[0]["name"] == name
    assert "x[/b]\\x1b[2J\\u202e" in answers[0].out


# --- what a project directory may hold --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("run", "w1"), ("report",), ("show", "L00.H00.QK"), ("verify", "--quick")])
def test_a_directory_that_is_no_project(workshop: Workshop, command: tuple[str, ...]) -> None:
    name, *rest = command
    assert "is not a project directory: it has no pellucid.toml" in pellucid(name, workshop.root, *rest).complaint()


PROJECTS = [
    ("parts.toml", 'residual = "on"', 'residual = "of"', "parts.toml:4: residual is 'of', expected 'on' or 'dropped'"),
    ("parts.toml", 'form = "raw"', 'form = "wrought"', "parts.toml:4: form is 'wrought', expected 'raw', 'lifted' or"),
    ("parts.toml", '"EMB.TOK"', '"EMB.TIK"', "parts.toml:4: 'EMB.TIK'"),
    ("parts.toml", "[[part]]", "[[part", "parts.toml: "),
    ("parts.toml", "budget = 88", "budget = 88\nmood = 3", "parts.toml:4: mood is no entry that is known here"),
    ("pellucid.toml", "seed = 0", 'seed = "often"', "settings.seed is 'often', expected"),
    ("pellucid.toml", "format = 2", "format = 9", "format is 9, this version reads 1 and 2"),
    ("pellucid.toml", "[gate]", "[gait]", "the section [gate] is missing"),
    ("pellucid.toml", "[subject]", "[subject", "pellucid.toml: "),
    ("program/model.py", "layers=2", "layers=many", "model.py: SUBJECT and CONFIG cannot be read"),
    ("program/layer_00.py", 'raw("L00.LN1")', "", "layer_00.py has no statement for L00.LN1"),
    ("program/layer_00.py", 'raw("L00.LN1")', 'raw("L00.LN1"', "layer_00.py:"),
    ("program/layer_00.py", 'raw("L00.LN1")', 'raw("L01.LN1")', "L01.LN1 belongs into layer_01.py"),
    ("program/layer_00.py", 'raw("L00.LN1")', 'raw("L00.LN1")\nraw("L00.LN1")', "L00.LN1 is already defined"),
    ("program/layer_00.py", 'raw("L00.LN1")', 'raw("L00.LN1")\nimport os', "only the prelude may be imported"),
]


@pytest.mark.parametrize(("file", "old", "new", "said"), PROJECTS, ids=[said for *_, said in PROJECTS])
def test_a_broken_project(workshop: Workshop, file: str, old: str, new: str, said: str) -> None:
    path = workshop.made / file
    with own_work(workshop.made):
        path.write_text(path.read_text().replace(old, new, 1))
    before = workshop.files()
    for command in (("run", workshop.made, "w1"), ("verify", workshop.made, "--quick")):
        assert said in pellucid(*command).complaint()
    assert workshop.files() == before
    if new:
        assert said in workshop.decompile().complaint()
        assert workshop.files()[file] == before[file]
    else:  # a gap is filled
        assert workshop.decompile().code == 0
    assert leftovers(workshop.made) == []


def test_a_syntax_error_in_parts_names_its_line(workshop: Workshop) -> None:
    workshop.edit("parts.toml", 'addresses = ["L00.ATTN.B"]', "addresses = [")
    line = workshop.files()["parts.toml"].decode().split("\n").index("addresses = [") + 1
    said = pellucid("verify", workshop.made, "--quick").complaint()
    assert "parts.toml" in said
    assert f"(at line {line + 1}, " in said or f"(at line {line}, " in said


@pytest.mark.parametrize(
    ("file", "contents", "said"),
    [
        ("report.json", b"{", "report.json: "),
        ("report.json", b"{}", "report.json"),
        ("symbols.tsv", b"L00.LN1\tname\n", "symbols.tsv:1: 2 columns, expected 7"),
        ("symbols.tsv", b"\xff\n", "symbols.tsv"),
        ("evidence.sqlite", b"no database, but long enough to be taken for one" * 99, "is not an evidence store"),
    ],
)
def test_a_damaged_store(workshop: Workshop, file: str, contents: bytes, said: str) -> None:
    (workshop.made / file).write_bytes(contents)
    command = ("report", workshop.made) if file == "report.json" else ("show", workshop.made, "L00.H00.QK")
    assert said in pellucid(*command).complaint()


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:500])])
def test_weights_that_git_left_behind(workshop: Workshop, damage: Callable[[Path], Any]) -> None:
    damage(workshop.made / "weights.safetensors")
    said = pellucid("run", workshop.made, "w1").complaint()
    assert "weights.safetensors" in said
    assert "re-create it with: pellucid decompile" in said
    assert workshop.decompile().code == 0
    assert pellucid("run", workshop.made, "w1").code == 0


def test_a_text_that_has_changed(workshop: Workshop) -> None:
    text_file(workshop.text, documents=190)
    assert "text of" in (said := pellucid("verify", workshop.made, "--quick").complaint())
    assert "has changed" in said


SOURCES = [
    ("return log(0) * key.position", "L00.H01.QK (by_hand)", "returned NaN or infinity"),
    ("return [[1, 2], [3]]", "L00.H01.QK (by_hand)", "raised ValueError"),
    ("return 1 * (key.token == 99)", "L00.H01.QK (by_hand)", "99"),
    ('return 1 * (key.token == " Ada")', "L00.H01.QK (by_hand)", "Ada"),
    ("return [1, 2, 3]", "L00.H01.QK (by_hand)", "returned shape [3]; it must broadcast to"),
    ("return key.position / query.token", "L00.H01.QK (by_hand)", "raised TypeError"),
]


@pytest.mark.parametrize(("body", "part", "said"), SOURCES, ids=[body for body, *_ in SOURCES])
def test_a_source_that_does_not_work(workshop: Workshop, body: str, part: str, said: str) -> None:
    workshop.source("L00.H01.QK", body)
    before, measured = workshop.files(), Project.open(workshop.made).evidence.find()
    for command in (
        ("run", workshop.made, "w1"),
        ("verify", workshop.made, "--quick"),
        ("verify", workshop.made, "L00.H01.QK", "--quick"),
    ):
        complaint = pellucid(*command).complaint()
        assert part in complaint
        assert said in complaint
        assert "layer_00.py:" in complaint
    counted = {"evidence.sqlite", "evidence.sqlite-wal"}  # an attempt to read held-out text is counted all the same
    assert {name for name, text in workshop.files().items() if before.get(name) != text} <= counted
    assert Project.open(workshop.made).evidence.find() == measured
    assert part in workshop.decompile().complaint()


# --- what else may be asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("show", "L07.H00.QK"), "names no part of this subject; did you mean"),
        (("show", "L00.H00.QQ"), "did you mean"),
        (("show", "'; DROP TABLE"), "is not an address; addresses look like"),
        (("verify", "L00.H00.QK", "--quick"), "L00.H00.QK runs raw: there is no source to verify"),
        (("run", ""), "has 0 tokens, expected 1 to 16"),
        (("run", "w1 " * 17), "has 17 tokens, expected 1 to 16"),
        (("run", "abracadabra"), "abracadabra"),
    ],
)
def test_a_question_that_has_no_answer(workshop: Workshop, command: tuple[str, ...], said: str) -> None:
    name, *rest = command
    assert said in pellucid(name, workshop.made, *rest).complaint()


def test_an_unknown_zoo_name() -> None:
    assert "zoo:atlantis is not in the zoo" in pellucid("zoo", "card", "atlantis").complaint()


def test_an_unknown_option_is_no_traceback() -> None:
    answer = pellucid("report", "--sideways")
    assert answer.code == 2
    assert "No such option" in answer.err


OUT_OF_RANGE = [("--seed", "-1"), ("--seed", "4294967296"), ("--seed", "1e3"), ("--tune", "nan"), ("--tune", "inf")]
OUT_OF_RANGE += [("--tune", "-1"), ("--stray", "nan"), ("--stray", "1.5"), ("--understand", "-1")]


@pytest.mark.parametrize(("option", "value"), OUT_OF_RANGE)
def test_numbers_out_of_range_are_refused_before_any_work(tmp_path: Path, option: str, value: str) -> None:
    answer = pellucid("decompile", tmp_path / "subject", "-o", tmp_path / "made", option, value)
    assert (answer.code, answer.out) == (2, "")
    assert f"Invalid value for '{option}'" in answer.err
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("error", "code", "said"), [(KeyboardInterrupt(), 130, "interrupted"), (Stopped(15), 143, "stopped")]
)
def test_who_ends_a_command_is_told_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    monkeypatch.setattr(Project, "open", Mock(side_effect=error))
    answer = pellucid("report", tmp_path)
    assert (answer.code, answer.err) == (code, f"pellucid: {said}; run the same command again to go on from here\n")


def test_the_installed_command_ends_with_code_2_and_one_line(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "pellucid"]
    source = str(Path(__file__).resolve().parents[1] / "src")
    answer = subprocess.run(
        [*program, "report", str(tmp_path)], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": source}
    )
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("pellucid: ")
    assert answer.stderr.count("\n") == 1


def test_output_may_have_any_encoding(workshop: Workshop) -> None:
    """The scoreboard has dashes for what is unmeasured; JSON is the same data."""
    program = [sys.executable, "-c", "from pellucid.cli import main; main()"]
    source = str(Path(__file__).resolve().parents[1] / "src")
    rename = json.loads((workshop.made / "report.json").read_text())
    rename["subject"]["name"] = "é – 天 🤗"
    (workshop.made / "report.json").write_text(json.dumps(rename))
    for more in ((), ("--json",)):
        answer = subprocess.run(
            [*program, "report", str(workshop.made), *more],
            capture_output=True,
            env=os.environ | {"PYTHONPATH": source, "PYTHONIOENCODING": "ascii"},
        )
        assert (answer.returncode, answer.stderr) == (0, b"")
    assert json.loads(answer.stdout)["subject"]["name"] == "é – 天 🤗"


# --- the good path ----------------------------------------------------------------------------------------------------


def check_fidelity(report: dict[str, Any], domains: set[str]) -> None:
    """`{full|source_only: {overall: {METRIC: {value, low, high, n}}, domains: {DOMAIN: …}}}`; unmeasured is null."""
    for program in ("full", "source_only"):
        assert set(report[program]) == {"overall", "domains"}
        assert set(report[program]["domains"]) == domains
        for block in (report[program]["overall"], *report[program]["domains"].values()):
            assert set(block) == METRICS
            for entry in block.values():
                assert entry is None or set(entry) == {"value", "low", "high", "n"}
                assert entry is None or isinstance(entry["n"], int)


def test_decompile_and_verify_report_in_one_shape(workshop: Workshop) -> None:
    made = workshop.decompile(None, "--json").json
    verified = pellucid("verify", workshop.made, "--quick", "--json").json
    reported = pellucid("report", workshop.made, "--json").json
    assert reported == verified == json.loads((workshop.made / "report.json").read_text())
    for report in (made, verified):
        check_fidelity(report, {"text"})
        assert report["full"]["overall"]["top1"]["value"] == 100.0
        assert report["full"]["overall"]["wer_16"]["value"] == 0.0
        assert report["quick"] is True
        assert {"noise_floor", "bigram", "trigram", "gate", "progress"} <= set(report)


def test_the_scoreboard_in_the_terminal(workshop: Workshop) -> None:
    answer = pellucid("report", workshop.made)
    assert answer.code == 0
    for row in ("full program", "source-only (code)", "source-only (all)", "noise floor", "trigram", "bigram"):
        assert row in answer.out
    for line in ("residual-free, source", "source-only fidelity", "described parts", "This was a quick run."):
        assert line in answer.out
    again = pellucid("verify", workshop.made, "--quick", "--source-only")
    assert "residuals" not in again.err
    overall = pellucid("report", workshop.made, "--json").json["full"]["overall"]
    contexts, positions = (f"{overall[metric]['n']:,}" for metric in ("wer_next", "top1"))
    assert f"measuring {contexts} contexts in " in again.err
    assert f"Fidelity on {contexts} contexts, {positions} positions (quick) of held-out text" in " ".join(
        again.out.split()
    )


def test_options_for_text_say_what_they_are_for_and_the_same_everywhere() -> None:
    def words(command: str) -> str:
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "400", "TERM": "dumb"}).stdout
        return " ".join(shown.split())

    corpus, fit = "Text to measure on, and to fit on if there is no --fit-corpus", "Other text to fit and tune on"
    assert [corpus in words(command) for command in ("decompile", "check", "diff")] == [True] * 3
    assert [fit in words(command) for command in ("decompile", "check")] == [True] * 2


def test_run_continues_a_prompt(workshop: Workshop) -> None:
    answer = pellucid("run", workshop.made, "w1 w2", "--tokens", 3)
    assert answer.code == 0
    assert answer.out.startswith("w1 w2")
    as_json = pellucid("run", workshop.made, "w1 w2", "--tokens", 3, "--json").json
    assert "w1 w2" + as_json["continuation"] == answer.out.removesuffix("\n")
    assert len(as_json["continuation"].split()) <= 3
    said = subprocess.run(
        [sys.executable, "-m", "program", "w1 w2", "--tokens", "3"], cwd=workshop.made, capture_output=True, text=True
    )
    assert said.stdout == answer.out


def test_show_names_where_a_part_stands(workshop: Workshop) -> None:
    assert 'raw("L00.H00.QK")' in pellucid("show", workshop.made, "L00.H00.QK").out
    (part,) = pellucid("show", workshop.made, "L00.H00.QK", "--json").json
    assert part["address"] == "L00.H00.QK"
    assert (part["form"], part["verdict"], part["parameters"]) == ("raw", "raw", 2 * (8 * 4 + 4))
    assert len(pellucid("show", workshop.made, "L*.H*.QK", "--json").json) == 4
    assert pellucid("show", workshop.made, "L00").code == 0


def test_a_source_by_hand_is_verified_and_shown(workshop: Workshop) -> None:
    workshop.source("L00.H01.QK", "return 6 * (key.position == query.position - 1)")
    assert pellucid("show", workshop.made, "L00.H01.QK", "--json").json[0]["verdict"] == "unmeasured"
    figures = pellucid("verify", workshop.made, "L00.H01.QK", "--quick", "--json").json
    assert set(figures) == {"isolated", "swapped_in", "joint"}
    assert figures["isolated"]["score"]["value"] <= 1
    assert set(figures["swapped_in"]["kl"]) == {"value", "low", "high", "n"}
    assert figures["swapped_in"]["kl"]["value"] > 0
    assert "swapped_in" in pellucid("verify", workshop.made, "L00.H01.QK", "--quick").out
    (part,) = pellucid("show", workshop.made, "L00.H01.QK", "--json").json
    assert part["verdict"] in {"within", "over"}
    assert "key.position == query.position - 1" in pellucid("show", workshop.made, "L00.H01.QK").out
    by_address = pellucid("verify", workshop.made, "L00.H*.QK", "--quick", "--json").json
    assert by_address == {"L00.H01.QK": figures}
    workshop.edit("program/layer_00.py", "return 6 *", "return 5 *")
    assert pellucid("show", workshop.made, "L00.H01.QK", "--json").json[0]["verdict"] == "stale"


def test_the_subject_has_moved(workshop: Workshop) -> None:
    moved = workshop.root / "elsewhere"
    shutil.move(workshop.subject, moved)
    assert "no such directory" in pellucid("verify", workshop.made, "--quick").complaint()
    assert pellucid("verify", workshop.made, "--quick", "--subject", moved).code == 0


@pytest.fixture
def village() -> None:
    """The test is skipped while the shipped model has no card."""
    if "village" not in registry.names() or not (registry.path("village") / "card.md").is_file():
        pytest.skip("zoo:village has no card; make it with training/village.py")


@pytest.mark.usefixtures("village")
def test_zoo_list() -> None:
    assert set(pellucid("zoo", "list", "--json").json) == set(registry.names())
    listed = pellucid("zoo", "list").out
    assert all(f"zoo:{name}" in listed for name in registry.names())


@pytest.mark.usefixtures("village")
def test_zoo_card() -> None:
    assert pellucid("zoo", "card", "village").out.strip()
    assert pellucid("zoo", "card", "zoo:village", "--json").json == registry.card("village")


def test_version() -> None:
    assert pellucid("--version").out.startswith("pellucid ")


def test_stories_of_the_zoo_are_a_text_to_work_on(tmp_path: Path) -> None:
    told = pellucid("zoo", "stories", "--count", 3, "--first", 5, "--split", "train", "--json").json
    assert told == [story.text for story in Village().stories("train", 5, 3)]
    (tmp_path / "fit.txt").write_text(pellucid("zoo", "stories", "--count", 3, "--first", 5, "--split", "train").out)
    documents = ["".join(document.fragments) for document in read_corpus([tmp_path / "fit.txt"]).read()]
    assert [document.strip() for document in documents] == [story.strip() for story in told]
    assert pellucid("zoo", "stories", "--count", 1).out != pellucid("zoo", "stories", "--count", 1, "--first", 1).out


# --- token ids --------------------------------------------------------------------------------------------------------


def test_prompts_may_be_token_ids(workshop: Workshop) -> None:
    text, ids = pellucid("run", workshop.made, "w1 w2"), pellucid("run", workshop.made, "1 2", "--ids")
    assert text.code == ids.code == 0
    assert ids.out.split() == [word.removeprefix("w") for word in text.out.split()]
    assert pellucid("run", workshop.made, "1, 2", "--ids", "--json").json["prompt"] == "1 2 "
    assert "'11' is no token of" in pellucid("run", workshop.made, "11", "--ids").complaint()
    why = [pellucid("why", workshop.subject, *prompt, "--json").json for prompt in (["w1 w2"], ["1 2", "--ids"])]
    assert why[0] == why[1]
    program = [sys.executable, "-m", "program", "1 2", "--ids"]
    run = subprocess.run(program, cwd=workshop.made, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ids.out.split()
    run = subprocess.run([*program[:3], "1 x", "--ids"], cwd=workshop.made, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (2, "program: 'x' is no token id from 0 to 10\n")


def test_a_revision_is_of_a_hub_model(workshop: Workshop) -> None:
    said = pellucid("decompile", workshop.subject, "-o", workshop.fresh, "--revision", "main").complaint()
    assert "@main' is no revision of a hub model" in said


def test_the_package_is_the_command_line() -> None:
    run = subprocess.run([sys.executable, "-m", "pellucid", "zoo", "list"], capture_output=True, text=True, check=True)
    assert run.stdout == pellucid("zoo", "list").out
