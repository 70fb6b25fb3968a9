"""Chat templates: the text is Transformers', and one that loops, grows, raises or reaches out is one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

import cutting
import families
import pellucid
from pellucid.base.errors import PellucidError, SubjectError
from pellucid.engine.chat import chat
from pellucid.subject.chat import LONGEST, Chat
from pellucid.subject.tokenizer_files import load_tokenizer

TURNS = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MARKED = """{{ bos_token }}
{%- for message in messages %}
    {%- if message.role not in ('user', 'assistant', 'system') %}{% continue %}{% endif %}
    {%- set content = message.content | trim %}
    {%- if message.role == 'assistant' %}{% generation %}[{{ content | tojson }}]{% endgeneration %}
    {%- else %}<{{ message.role | upper }}>{{ content }}</s>{{ '\\n' }}
    {%- endif %}
{%- endfor %}
{%- set ns = namespace(turns=messages | length) %}{{ ns.turns }} {{ eos_token }} {{ missing }}
"""
TALKS: list[Any] = [
    [{"role": "user", "content": "What is 2 < 3 & 'so'?"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " Hi é "},
        {"role": "assistant", "content": 'A "word"'},
        {"role": "tool", "content": "x"},
        {"role": "user", "content": "And?"},
    ],
]


@pytest.mark.parametrize("template", [TURNS, MARKED])
@pytest.mark.parametrize("talk", TALKS)
def test_the_text_is_that_of_transformers(template: str, talk: list[dict[str, str]], tmp_path: Path) -> None:
    own = PreTrainedTokenizerFast(tokenizer_object=cutting.KINDS["llama2"](), bos_token="<s>", eos_token="</s>")
    own.chat_template = template
    own.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path, {}, 1 << 20).tokenizer
    assert tokenizer.chat is not None
    assert tokenizer.chat.text(talk) == own.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    listed = [{"name": "tools", "template": "x"}, {"name": "default", "template": template}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": listed}))
    assert load_tokenizer(tmp_path, {}, 1 << 20).tokenizer.chat == tokenizer.chat


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('roles must alternate') }}", "TemplateError: roles must alternate"),
        ("{% for x in", "TemplateSyntaxError"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "not done in time"),
        ("{{ 'x' * 2000000 }}", "it writes 2,000,000 characters"),
        ("{{ 'x' * 20000000000 }}", "needs too much: MemoryError"),
        ("{{ range(10000000) | list }}", "OverflowError: Range too big"),
        ("{{ messages.__class__.__mro__ }}", "SecurityError: access to attribute '__class__'"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ messages[7].content.strip() }}", "UndefinedError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "needs too much: RecursionError"),
        ("{% include '/etc/passwd' %}", "TypeError: no loader"),
    ],
)
def test_templates_that_fail(template: str, message: str) -> None:
    with pytest.raises(PellucidError, match=message) as caught:
        Chat(template).text("Hello")
    assert str(caught.value).startswith("the chat template of the subject cannot be used: ")


@pytest.mark.parametrize("talk", [[], [{}], [{"role": "user"}], [{"role": "user", "text": "x"}]])
def test_what_is_no_conversation(talk: Any) -> None:
    with pytest.raises(PellucidError, match="is no conversation; expected a text, or messages such as"):
        Chat(TURNS).text(talk)


def test_templates_are_bounded(tmp_path: Path) -> None:
    cutting.KINDS["llama2"]().save(str(tmp_path / "tokenizer.json"))
    for template in ("x" * (LONGEST + 1), 3):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
        with pytest.raises(SubjectError, match="its chat template is no text of at most 200,000 characters"):
            load_tokenizer(tmp_path, {}, 1 << 20)


def test_what_is_said_to_a_model_is_what_it_reads() -> None:
    made = families.make("llama", 3).model
    model = type(made)(type(made.config)(**(made.config.to_dict() | {"vocab_size": 1024}))).eval()
    own = PreTrainedTokenizerFast(tokenizer_object=cutting.KINDS["llama2"](), bos_token="<s>", eos_token="</s>")
    own.chat_template = MARKED
    subject = pellucid.load(model, own)
    ids = chat(subject, "hi")
    wanted = own.apply_chat_template([{"role": "user", "content": "hi"}], add_generation_prompt=True)
    assert ids == list(wanted["input_ids"])
    assert pellucid.trace(subject, ids, ["L00.z"]).logits.shape[1] == len(ids)
    own.chat_template = None
    with pytest.raises(PellucidError, match="in memory has no chat template; give it a text to go on from"):
        pellucid.chat(pellucid.load(model, own), "hi")
