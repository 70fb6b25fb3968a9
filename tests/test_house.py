"""Who names a family of models; numbers that may only fall: tests of what a form is, circles, the largest folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import house

NAMING = {
    "dictionary/published.py": "the name that published transcoders give to their tensor of thresholds",
    "subject/byte_pairs.py": "a class of tokenizers, as files of Hugging Face name it in `tokenizer_class`",
    "weightless/hooked.py": "the `model_type` of the layout of TransformerLens, which is no family of decoders",
}
"""Modules outside `family/` that name a family's tensors, config fields or classes, and why they may."""
MOST_TESTS_OF_FORMS = 0
"""Places that ask with `isinstance` which class a form has; to be lowered, never raised."""
LARGEST = 20.0
"""Percent of the package's lines that one folder may hold; to be lowered, never raised."""


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return house.modules()


def test_no_other_modules_name_a_family(texts: dict[str, str]) -> None:
    assert house.naming_a_family(texts) == [*NAMING], "put into family/ what a model's files are called"


def test_no_more_places_ask_what_a_form_is(texts: dict[str, str]) -> None:
    assert house.tests_of_forms(texts) <= MOST_TESTS_OF_FORMS


def test_folders_do_not_import_in_circles(texts: dict[str, str]) -> None:
    assert house.circles(texts) == []


def test_no_folder_grows_beyond_its_share(texts: dict[str, str]) -> None:
    folder, share = house.largest_share(texts)
    assert share <= LARGEST, f"{folder} holds {share:.1f} % of the package"


def test_how_much_is_done_is_one_value(texts: dict[str, str]) -> None:
    """Functions take an `Effort`, not a flag whose limits stand in a table beside them."""
    assert house.quick_parameters(texts) == 0


def test_a_class_has_a_name_of_its_own(texts: dict[str, str]) -> None:
    assert house.named_twice(texts) == [], "one name for one idea: call the new class what it is"


def test_units_are_mapped_over_in_one_way(texts: dict[str, str]) -> None:
    assert house.pools(texts) == ["base/work.py"], "use `mapped` of base/work.py, with `threads()` or `processes(n)`"


def test_what_is_counted() -> None:
    texts = {
        "a/one.py": "from pellucid.b.two import there\nwidth = config.n_embd\n",
        "b/two.py": 'def there():\n    """A GPT2Config."""\n    from pellucid.a import b\n    isinstance(b, Looks)\n',
        "cli/four.py": "def verify(quick): ...\n",
        "b/three.py": "def five(*, quick): ...\nkey = f'h.{layer}.c_attn'\nisinstance(key, str)\n# wte\n",
        "family/gpt2.py": "name = 'wte'\n",
    }
    assert house.naming_a_family(texts) == ["a/one.py", "b/three.py"]
    assert house.circles(texts) == [("a", "b")]
    assert house.tests_of_forms(texts) == 1
    assert house.quick_parameters(texts) == 1
    assert house.folders(texts)["b"] == (2, 8)
    assert house.largest_share(texts) == ("b", pytest.approx(100 * 8 / 12))
    again = {"a/one.py": "class Place: ...\nclass _Kept: ...\n", "b/two.py": "class Place: ...\nclass _Kept: ...\n"}
    assert house.named_twice(again | {"program/three.py": "class Kind: ...\n", "b/four.py": "class Kind: ...\n"}) == [
        "Place"
    ]
    pooled = {"a/one.py": "with ThreadPoolExecutor(2) as pool: ...\n", "program/two.py": "ProcessPoolExecutor(2)\n"}
    assert house.pools(pooled) == ["a/one.py"]
