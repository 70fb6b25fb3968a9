"""Models in memory: what Transformers computes with them, and what makes them another function is refused by name."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, OPTConfig, PreTrainedTokenizerFast

import cutting
import families
import pellucid
from pellucid.base.errors import PellucidError, SubjectError

IDS = torch.arange(14)[None] % 23


@pytest.fixture
def made() -> Any:
    return families.make("llama", 3).model


@pytest.mark.parametrize("family", families.FAMILIES)
def test_logits_are_those_of_the_object(family: str) -> None:
    made = families.make(family, 1)
    model = pellucid.load(made.model)
    with torch.inference_mode():
        assert torch.equal(model.logits(IDS), made.model(IDS).logits)
    assert repr(model).startswith(f"<Model {type(made.model).__name__} in memory: ")
    assert "no tokenizer was given: text is token ids" in "".join(model.subject.notes)


def test_what_happens_to_it_later_changes_nothing(made: Any) -> None:
    model = pellucid.load(made)
    before, hashed = model.logits(IDS), model.subject.weights_sha256
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(2)
    assert torch.equal(model.logits(IDS), before)
    again = pellucid.load(made)
    assert not torch.equal(again.logits(IDS), before)
    assert again.subject.weights_sha256 != hashed


def test_training_mode_and_other_precisions_are_said(made: Any) -> None:
    wanted = pellucid.load(made).logits(IDS)
    made.train()
    found = pellucid.load(made)
    assert torch.equal(found.logits(IDS), wanted)
    assert "the model was in training mode; it is run as in evaluation" in "".join(found.subject.notes)
    half = pellucid.load(made.to(torch.bfloat16))
    assert "the model's bfloat16 weights were converted to float32" in "".join(half.subject.notes)
    assert half.subject.weights["norm.weight"].dtype == torch.float32


def test_a_model_that_recorded_is_no_other(made: Any) -> None:
    made(IDS, output_hidden_states=True, output_attentions=True)
    made.enable_input_require_grads()
    assert pellucid.load(made).logits(IDS).shape[1] == 14


def test_the_tokenizer_goes_with_it(tmp_path: Path) -> None:
    inner = cutting.with_tokens(cutting.KINDS["llama2"](), random.Random(1))
    own = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    model = wide(families.make("llama", 3), 1024)
    model.generation_config.eos_token_id = [2, 5]
    for given in (own, inner):
        found = pellucid.load(model, given)
        for text in cutting.strings(40):
            assert found.tokenizer.encode(text) == inner.encode(text, add_special_tokens=False).ids
        assert found.tokenizer.opening == (1,)
        assert found.tokenizer.ends == (2, 5)
        assert found.ids("the").shape[1] == len(inner.encode("the").ids)
    assert pellucid.load(model, own, ids=True).tokenizer.encode("5 7") == [5, 7]
    model.save_pretrained(tmp_path)
    own.save_pretrained(tmp_path)
    assert pellucid.load(tmp_path).tokenizer.pieces() == pellucid.load(model, own).tokenizer.pieces()
    assert torch.equal(pellucid.load(tmp_path).logits("the"), pellucid.load(model, own).logits("the"))


def wide(made: families.Made, count: int) -> Any:
    """The same model with more tokens."""
    fields = made.model.config.to_dict() | {"vocab_size": count}
    return type(made.model)(type(made.model.config)(**fields)).eval()


def test_a_tokenizer_of_another_model_is_refused(made: Any) -> None:
    with pytest.raises(SubjectError, match=r"LlamaForCausalLM in memory/tokenizer.json does not fit its model"):
        pellucid.load(made, cutting.KINDS["llama2"]())
    with pytest.raises(SubjectError, match="was given a tokenizer that is a int"):
        pellucid.load(made, 3)
    with pytest.raises(PellucidError, match="a tokenizer is given with a model that is in memory"):
        pellucid.load("zoo:village", cutting.KINDS["llama2"]())


class Added(nn.Module):
    """A layer as adapters wrap it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.Linear(base.in_features, 2, bias=False)


class Other(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_what_makes_it_another_function_is_refused(made: Any) -> None:
    own = made.model.layers[0].self_attn
    plain, own.q_proj = own.q_proj, Added(own.q_proj)
    with pytest.raises(
        SubjectError, match=r"has adapters \(model.layers.0.self_attn.q_proj.base_layer.*merge_and_unload"
    ):
        pellucid.load(made)
    own.q_proj = plain
    handle = made.model.layers[0].mlp.register_forward_hook(lambda *_: None)
    with pytest.raises(SubjectError, match=r"has hooks, which would not run here: model.layers.0.mlp"):
        pellucid.load(made)
    handle.remove()
    act = made.model.layers[0].mlp.act_fn
    made.model.layers[0].mlp.act_fn = Other()
    with pytest.raises(SubjectError, match=r"not Transformers' own: model.layers.0.mlp.act_fn \(Other\)"):
        pellucid.load(made)
    made.model.layers[0].mlp.act_fn = act
    made.model.layers[0].mlp.forward = lambda x: x
    with pytest.raises(SubjectError, match=r"not Transformers' own: model.layers.0.mlp \(LlamaMLP\)"):
        pellucid.load(made)


def test_parameters_that_cannot_be_taken_over(made: Any) -> None:
    with torch.no_grad():
        made.model.norm.weight[0] = torch.nan
    with pytest.raises(SubjectError, match=r"NaN or infinite numbers in norm.weight"):
        pellucid.load(made)
    with pytest.raises(SubjectError, match=r"embed_tokens.weight is on the device meta, without numbers"):
        pellucid.load(made.to("meta"))
    del made.model.norm
    with pytest.raises(SubjectError, match=r"missing norm.weight.*save it, model.save_pretrained"):
        pellucid.load(made)


def test_tables_that_a_config_ties_must_be_one(made: Any) -> None:
    made.config.tie_word_embeddings = True
    made.lm_head.weight = nn.Parameter(made.model.embed_tokens.weight.detach() + 1)
    with pytest.raises(
        SubjectError, match=r"lm_head.weight differs from embed_tokens.weight, but its config ties them"
    ):
        pellucid.load(made)


def test_other_families_are_named() -> None:
    config = OPTConfig(vocab_size=23, hidden_size=8, num_hidden_layers=1, ffn_dim=8, num_attention_heads=2)
    with pytest.raises(SubjectError, match=r"OPTForCausalLM in memory asks for model_type 'opt'.*supported are"):
        pellucid.load(AutoModelForCausalLM.from_config(config))
    with pytest.raises(SubjectError, match="or a model of Transformers, not an object of Linear"):
        pellucid.load(nn.Linear(2, 2))
