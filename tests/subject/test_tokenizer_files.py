"""What the files beside a vocabulary declare: ids are those of Transformers, in programs too, or the kind is named."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from pellucid.base.errors import PellucidError, SubjectError
from pellucid.listing import pages
from pellucid.program.vocabulary import Vocabulary
from pellucid.subject.tokenizer import Tokenizer
from pellucid.subject.tokenizer_files import TokenizerRead, load_tokenizer

END = "<|endoftext|>"
TEXT = ["the keys to the cat sat on the mat", "naïve café — señor, 12 + 12", "don't we'll <user> they've\n\n\tthe  end"]
PARTS = [
    *(
        "the keys",
        " the",
        "The",
        "  ",
        " ",
        "\n",
        "\t ",
        "\xa0",
        "\u3000",
        "\x1c",
        "\x85",
        "café",
        "e\u0301",
        "世界",
        "😀",
        "12",
    ),
    *("'s", "'ll", "_", "a1", "(", ")", "«", "Ⅷ", "²", "\u200d", "\u0300", "don't", END, "<|end", "of|>", "<"),
]
TOKENS = [
    "<user>",
    "<bot>",
    "<us",
    "user",
    " the",
    "[PAD]",
    "<|im_end|>",
    "\n\n",
    "é>",
    "ab c",
    "<a",
    "<a>",
    "a>",
    "🤗",
]


def trained(size: int = 330, *, without: str = "") -> dict[str, Any]:
    """The fields of a small tokenizer.json, whose alphabet may lack characters."""
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = [character for character in pre_tokenizers.ByteLevel.alphabet() if character not in without]
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=[END], show_progress=False)
    inner.train_from_iterator([text.translate(dict.fromkeys(map(ord, without))) for text in TEXT], trainer)
    fields: dict[str, Any] = json.loads(inner.to_str())
    return fields


@pytest.fixture(scope="module")
def fields() -> dict[str, Any]:
    return trained()


def save(directory: Path, name: str, data: object) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")


def halves(directory: Path, fields: dict[str, Any]) -> None:
    save(directory, "vocab.json", fields["model"]["vocab"])
    save(directory, "merges.txt", "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in fields["model"]["merges"]))


def read(directory: Path, vocab_size: int = 400, **config: Any) -> TokenizerRead:
    save(directory, "config.json", {"model_type": "gpt2", "vocab_size": vocab_size} | config)
    return load_tokenizer(directory, json.loads((directory / "config.json").read_text()), vocab_size)


def program(tokenizer: Tokenizer, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Vocabulary:
    """The vocabulary of a program that was emitted with `tokenizer`."""
    save(directory, "vocabulary.json", pages.vocabulary(tokenizer))
    monkeypatch.setattr("pellucid.program.vocabulary.__file__", str(directory / "vocabulary.py"))
    return Vocabulary()


# --- against Transformers ---------------------------------------------------------------------------------------------


def entry(text: str, draw: random.Random) -> dict[str, Any]:
    """How a token is found, in the words of the files."""
    flags = {flag: draw.random() < 0.3 for flag in ("lstrip", "rstrip", "normalized", "special")}
    return {"content": text, "single_word": False, **flags}


def post_processor(opening: str, closing: str, at: dict[str, int], draw: random.Random) -> Any:
    """A post-processor that opens texts, and may close them too."""
    kind = draw.choice(["none", "bytes", "template", "roberta", "both"])
    level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    text = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    before, behind = ([{"SpecialToken": {"id": mark, "type_id": 0}}] for mark in (opening, closing))
    behind = behind * (draw.random() < 0.3)
    marks = {mark: {"id": mark, "ids": [at[mark]], "tokens": [mark]} for mark in (opening, closing)}
    template = {
        "type": "TemplateProcessing",
        "single": [*before, text[0], *behind],
        "pair": text,
        "special_tokens": marks,
    }
    ends = {"sep": [closing, at[closing]], "cls": [opening, at[opening]]}
    kinds = {"none": None, "bytes": level, "template": template}
    kinds["roberta"] = {"type": "RobertaProcessing", "trim_offsets": True, "add_prefix_space": False} | ends
    kinds["both"] = {"type": "Sequence", "processors": [level, template]}
    return kinds[kind]


def checkpoint(directory: Path, fields: dict[str, Any], draw: random.Random) -> None:
    """The files of a random tokenizer."""
    count = len(fields["model"]["vocab"])
    added = draw.sample(TOKENS, draw.randint(0, 5))
    at = {END: 0} | {
        text: count + n for n, text in enumerate(text for text in added if text not in fields["model"]["vocab"])
    }
    at |= {text: fields["model"]["vocab"][text] for text in added if text not in at}
    entries = [entry(text, draw) for text in added]
    mine = [{"id": at[e["content"]], **e} for e in entries]
    whole = draw.random() < 0.6
    kinds = [None, "GPT2Tokenizer", "GPT2TokenizerFast"] + ["PreTrainedTokenizerFast"] * 2 * whole
    settings: dict[str, Any] = {"tokenizer_class": draw.choice(kinds)}
    if settings["tokenizer_class"] is None:
        del settings["tokenizer_class"]
    if draw.random() < 0.5:
        settings["add_prefix_space"] = draw.random() < 0.5
    roles = ("bos_token", "eos_token", "unk_token", "pad_token")
    plain = [END, *(text for text in added if text.split() == [text])]  # Transformers refuses others as a BOS
    named = {role: draw.choice(plain) for role in roles if draw.random() < 0.4}
    where = draw.choice(["decoder", "file", "map"])
    if whole:
        pre = fields["pre_tokenizer"] | {"add_prefix_space": draw.random() < 0.3}
        post = post_processor(draw.choice(list(at)), draw.choice(list(at)), at, draw)
        inside = mine if where != "file" else []
        end = [fields["added_tokens"][0]] if draw.random() < 0.8 else []
        save(
            directory,
            "tokenizer.json",
            fields | {"added_tokens": [*end, *inside], "pre_tokenizer": pre, "post_processor": post},
        )
    else:
        halves(directory, fields)
        if draw.random() < 0.5:
            settings["add_bos_token"] = draw.random() < 0.7
    if where == "decoder":
        end = {"0": {"content": END, "lstrip": False, "rstrip": False, "normalized": draw.random() < 0.3}}
        settings["added_tokens_decoder"] = end | {str(e["id"]): {k: v for k, v in e.items() if k != "id"} for e in mine}
        settings |= named
    else:
        if where == "file" or not whole:
            save(directory, "added_tokens.json", {text: at[text] for text in added})
        save(directory, "special_tokens_map.json", named)
    if draw.random() < 0.9 or len(settings) > 1:
        save(directory, "tokenizer_config.json", settings)


def some_text(draw: random.Random, added: list[str]) -> str:
    return "".join(draw.choice([*PARTS, *TOKENS, *added * 4]) for _ in range(draw.randint(0, 9)))


@pytest.mark.parametrize("seed", range(5))
def test_ids_are_those_of_transformers(
    fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draw = random.Random(seed)
    for number in range(20):
        directory = tmp_path / str(number)
        checkpoint(directory, fields, draw)
        ours = read(directory).tokenizer
        theirs = AutoTokenizer.from_pretrained(directory)
        emitted = program(ours, directory, monkeypatch)
        texts = [some_text(draw, [a.text for a in ours.pieces().added]) for _ in range(25)]
        for text in texts:
            wanted = theirs(text, add_special_tokens=False).input_ids
            whole = [*ours.opening, *wanted]
            assert theirs(text).input_ids[: len(whole)] == whole, (directory, text)
            assert ours.encode(text) == wanted, (directory, text)
            assert emitted.encode(text) == wanted, (directory, text)
            assert emitted.opened(text) == ours.opened(text)


# --- each kind, with the right value ----------------------------------------------------------------------------------


def ids(directory: Path, text: str, **config: Any) -> list[int]:
    return read(directory, **config).tokenizer.opened(text)


def test_added_tokens_of_their_own_file(fields: dict[str, Any], tmp_path: Path) -> None:
    halves(tmp_path, fields)
    plain = ids(tmp_path, "<user>the<bot>")
    count = len(fields["model"]["vocab"])
    save(tmp_path, "added_tokens.json", {"<user>": count, "<bot>": count + 1})
    found = ids(tmp_path, "<user>the<bot>")
    assert found == [count, *ids(tmp_path, "the"), count + 1] != plain
    save(tmp_path, "added_tokens.json", {"<user>": count + 1})
    assert f"says that '<user>' is token {count + 1}, but beside vocab.json it is {count}" in read(tmp_path).notes[0]


def test_tokens_that_have_a_role_are_found_whole(fields: dict[str, Any], tmp_path: Path) -> None:
    halves(tmp_path, fields)
    at = {text: n for text, n in fields["model"]["vocab"].items() if len(text) == 3}
    role, more = sorted(at)[:2]
    save(
        tmp_path,
        "special_tokens_map.json",
        {"sep_token": {"content": role, "lstrip": True}, "extra_special_tokens": [more]},
    )
    assert ids(tmp_path, f"!  {role}{more}")[1:] == [at[role], at[more]]


def test_a_space_is_put_before_text(fields: dict[str, Any], tmp_path: Path) -> None:
    halves(tmp_path, fields)
    spaced, plain = ids(tmp_path, " keys"), ids(tmp_path, "keys")
    save(tmp_path, "tokenizer_config.json", {"add_prefix_space": True})
    assert ids(tmp_path, "keys") == ids(tmp_path, " keys") == spaced != plain
    assert ids(tmp_path, f"keys{END}keys") == [*spaced, 0, *spaced]


def test_what_opens_and_closes_texts(fields: dict[str, Any], tmp_path: Path) -> None:
    count = len(fields["model"]["vocab"])
    added = [
        *fields["added_tokens"],
        *({"id": count + n, **entry(t, random.Random(9))} for n, t in enumerate(("<s>", "</s>"))),
    ]
    post = {"type": "BertProcessing", "sep": ["</s>", count + 1], "cls": ["<s>", count]}
    save(tmp_path, "tokenizer.json", fields | {"added_tokens": added, "post_processor": post})
    found = read(tmp_path, bos_token_id=count, eos_token_id=count + 1)
    inside = found.tokenizer.encode("the keys")
    assert found.tokenizer.opened("the keys") == [count, *inside]
    assert found.tokenizer.opened("<s>the keys") == [count, *inside]
    assert (found.tokenizer.start, found.tokenizer.ends) == ((count,), (count + 1,))
    assert "also closes texts with '</s>'; prompts are read without it" in found.notes[0]


def test_a_beginning_that_is_not_the_end_begins_documents(fields: dict[str, Any], tmp_path: Path) -> None:
    save(tmp_path, "tokenizer.json", fields)
    assert read(tmp_path, bos_token_id=5, eos_token_id=0).tokenizer.start == (5,)
    assert read(tmp_path, bos_token_id=0, eos_token_id=0).tokenizer.start == (0,)
    assert read(tmp_path, bos_token_id=50256, eos_token_id=50256).tokenizer.start == (0,)
    save(tmp_path, "tokenizer_config.json", {"bos_token": "!", "eos_token": "?", "add_bos_token": True})
    at = fields["model"]["vocab"]
    found = read(tmp_path).tokenizer
    assert (found.start, found.eos_id, found.opened("a")) == ((at["!"],), at["?"], [at["!"], at["a"]])


def test_several_tokens_end_a_text(fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, "tokenizer.json", fields)
    assert read(tmp_path, eos_token_id=7).tokenizer.ends == (7,)
    assert read(tmp_path, eos_token_id=[7, 9, 9999]).tokenizer.ends == (7, 9)
    save(tmp_path, "generation_config.json", {"eos_token_id": [12, 3]})
    found = read(tmp_path, eos_token_id=7).tokenizer
    assert (found.eos_id, found.ends) == (7, (12, 3))
    emitted = program(found, tmp_path, monkeypatch)
    assert (emitted.end, emitted.ends) == (7, [12, 3])
    save(tmp_path, "generation_config.json", {"eos_token_id": 50256})
    assert read(tmp_path, eos_token_id=7).tokenizer.ends == (7,)


def test_tokens_without_an_embedding(fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    halves(tmp_path, fields)
    count = len(fields["model"]["vocab"])
    save(tmp_path, "added_tokens.json", {"[PAD]": count})
    found = read(tmp_path, vocab_size=count)
    assert (found.tokenizer.n_tokens, found.notes[0][-7:]) == (count, "'[PAD]'")
    assert found.tokenizer.decode(found.tokenizer.encode("the keys")) == "the keys"
    with pytest.raises(PellucidError, match=rf"'the\[PAD\]' has the token '\[PAD\]', number {count} of"):
        found.tokenizer.encode("the[PAD]")
    with pytest.raises(Exception, match=r"the model has no embedding of the token '\[PAD\]'"):
        program(found.tokenizer, tmp_path, monkeypatch).encode("the[PAD]")


def test_added_tokens_that_want_the_same_white_space(fields: dict[str, Any], tmp_path: Path) -> None:
    halves(tmp_path, fields)
    count = len(fields["model"]["vocab"])
    tokens = {str(count): {"content": "<a", "rstrip": True}, str(count + 1): {"content": "\n\n", "lstrip": True}}
    save(tmp_path, "tokenizer_config.json", {"added_tokens_decoder": tokens})
    with pytest.raises(PellucidError, match=r"the tokenizers package cannot cut '<a"):
        read(tmp_path).tokenizer.encode("<a \n\n x")


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"normalizer": {"type": "Lowercase"}}, {}, "normalizer {'type': 'Lowercase'}"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, {}, "pre_tokenizer {'type': 'Whitespace'}"),
        ({"pre_tokenizer": None}, {}, "pre_tokenizer"),
        ({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}, {}, "model 'WordLevel'"),
        ({}, {"split_special_tokens": True}, "split_special_tokens = True"),
        ({}, {"fast_tokenizer_files": ["tokenizer.json", "tokenizer.4.json"]}, "fast_tokenizer_files"),
        ({"added_tokens": [{"id": 0, "content": END, "single_word": True}]}, {}, "a word of its own (single_word)"),
    ],
)
def test_other_kinds_are_named(
    fields: dict[str, Any], tmp_path: Path, changes: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    save(tmp_path, "tokenizer.json", fields | changes)
    save(tmp_path, "tokenizer_config.json", settings)
    found = read(tmp_path)
    assert message in found.notes[0]
    assert found.notes[0].endswith("text is neither read nor written, tokens are given as their ids, such as '5 17 3'")
    assert found.tokenizer.encode("5 17 3") == [5, 17, 3]


@pytest.mark.parametrize("option", ["continuing_subword_prefix", "end_of_word_suffix"])
def test_options_that_a_program_would_not_follow_are_named(fields: dict[str, Any], tmp_path: Path, option: str) -> None:
    save(tmp_path, "tokenizer.json", fields | {"model": fields["model"] | {option: "##"}})
    assert f"{option} = '##'" in read(tmp_path).notes[0]


def test_bytes_that_the_vocabulary_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = trained(without="kz")
    save(tmp_path, "tokenizer.json", fields)
    ours = read(tmp_path).tokenizer
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    emitted = program(ours, tmp_path, monkeypatch)
    for text in ("tkhe", "thzzze keys", "kkz", " k k"):
        assert ours.encode(text) == emitted.encode(text) == theirs(text).input_ids, text
    save(tmp_path, "tokenizer.json", fields | {"model": fields["model"] | {"unk_token": END}})
    ours = read(tmp_path).tokenizer
    emitted = program(ours, tmp_path, monkeypatch)
    assert ours.encode("tkkh") == emitted.encode("tkkh")
    assert ours.encode("tkkh").count(0) == 2


def test_a_class_of_another_model_is_said(fields: dict[str, Any], tmp_path: Path) -> None:
    save(tmp_path, "tokenizer.json", fields)
    save(tmp_path, "tokenizer_config.json", {"tokenizer_class": "CodeGenTokenizerFast"})
    assert "asks for the tokenizer 'CodeGenTokenizerFast'; its tokenizer.json is read" in read(tmp_path).notes[0]
    (tmp_path / "tokenizer.json").unlink()
    halves(tmp_path, fields)
    assert "asks for the tokenizer 'CodeGenTokenizerFast' and has no tokenizer.json" in read(tmp_path).notes[0]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("added_tokens.json", {"<a>": "x"}, "'<a>' has the id 'x', expected a number"),
        ("added_tokens.json", [], "holds a JSON list"),
        (
            "special_tokens_map.json",
            {"bos_token": {"lstrip": True}},
            "bos_token has {'lstrip': True}, expected a token",
        ),
        ("special_tokens_map.json", {"bos_token": 3}, "bos_token has 3, expected a token"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "a"}}}, "no table from ids to tokens"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"3": {"content": 5}}}, "expected a token"),
        ("tokenizer_config.json", {"add_prefix_space": "yes"}, "add_prefix_space is 'yes', expected true or false"),
        ("tokenizer_config.json", {"extra_special_tokens": [[]]}, "extra_special_tokens has []"),
    ],
)
def test_broken_declarations(fields: dict[str, Any], tmp_path: Path, name: str, data: object, message: str) -> None:
    halves(tmp_path, fields)
    save(tmp_path, name, data)
    with pytest.raises(SubjectError) as caught:
        read(tmp_path)
    assert name in str(caught.value)
    assert message in str(caught.value)


# --- what identifies it -----------------------------------------------------------------------------------------------


def test_the_hash_covers_whatever_decides_ids(fields: dict[str, Any], tmp_path: Path) -> None:
    halves(tmp_path, fields)
    plain = read(tmp_path, eos_token_id=0)
    assert plain.formerly == plain.sha256
    found = {plain.sha256}
    for settings in ({"add_prefix_space": True}, {"add_bos_token": True}, {"bos_token": "!"}, {"sep_token": "the"}):
        save(tmp_path, "tokenizer_config.json", settings)
        other = read(tmp_path, eos_token_id=0)
        found.add(other.sha256)
        assert other.formerly == (plain.sha256 if settings == {"add_bos_token": True} else None)
    (tmp_path / "tokenizer_config.json").unlink()
    end = read(tmp_path, eos_token_id=5)
    assert end.formerly == plain.sha256
    found.add(end.sha256)
    assert len(found) == 6
    save(tmp_path, "tokenizer_config.json", {"model_max_length": 64, "unk_token": END})
    assert read(tmp_path, eos_token_id=0).sha256 == plain.sha256
