"""Tables that are asked for in a conversation, and templates that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import cutting
import pellucid as package
from cli_support import pellucid
from pellucid.accounts.wordings import as_conversation
from pellucid.base.errors import PellucidError

SIZES = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16}
TURN = "{{ bos_token }}{% for m in messages %}user: {{ m.content }}\n{% endfor %}bot:"


def written(folder: Path, template: str | None) -> Path:
    """A random Llama whose tokenizer opens texts with <s>."""
    torch.manual_seed(0)
    own = PreTrainedTokenizerFast(tokenizer_object=cutting.KINDS["llama2"](), bos_token="<s>", eos_token="</s>")
    own.chat_template = template
    own.save_pretrained(folder)
    LlamaForCausalLM(LlamaConfig(vocab_size=1024, initializer_range=0.3, **SIZES)).save_pretrained(folder)
    (folder / "of.txt").write_text("one\ntwo\n")
    return folder


def test_a_table_reads_what_a_conversation_is(tmp_path: Path) -> None:
    model = package.load(written(tmp_path, TURN))
    spoken = as_conversation("the {} is", model)
    assert model.ids(spoken.replace("{}", "one"))[0].tolist() == package.chat(model, "the one is")
    asked = ("table", tmp_path, "--ask", "the {} is", "--of", tmp_path / "of.txt", "--json")
    plainly, found = pellucid(*asked).json, pellucid(*asked, "--chat").json
    assert found["wordings"][0]["ask"] == "the {} is"
    assert found["lines"] != plainly["lines"]
    asked_here = package.table(model, "the {} is", ["one", "two"], chat=True)
    assert [line["margin"] for line in found["lines"]] == [line.margin for line in asked_here.lines]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template; ask without --chat"),
        ("{{ raise_exception('no') }}", "cannot be used: TemplateError: no"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "not done in time"),
        (TURN + "{{ '{}' }}", "in other places; ask without --chat"),
    ],
)
def test_templates_that_cannot_be_used(template: str | None, message: str, tmp_path: Path) -> None:
    asked = ("--ask", "the {} is", "--of", tmp_path / "of.txt", "--chat")
    answer = pellucid("table", written(tmp_path, template), *asked)
    assert answer.code == 2
    assert message in answer.complaint()
    with pytest.raises(PellucidError, match="chat template"):
        as_conversation("the {} is", package.load(tmp_path))
