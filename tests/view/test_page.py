"""Data in a page is inert, the policy names exactly the page's own code, and slots are filled once."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.base.errors import PellucidError
from pellucid.view.page import fill, inert_json, policy, static

TEXTS = st.text(st.characters(codec=None), max_size=40)


@given(st.dictionaries(TEXTS, st.lists(TEXTS | st.integers() | st.none() | st.booleans(), max_size=5), max_size=5))
def test_inert_json_keeps_the_data_and_no_markup(data: dict[str, list[str | int | None]]) -> None:
    text = inert_json(data)
    assert json.loads(text) == data
    assert not set("<>&\u2028\u2029") & set(text)
    text.encode("utf-8")


def test_inert_json_disarms_the_end_of_the_element() -> None:
    assert inert_json({"a": "</script><!--"}) == '{"a":"\\u003c/script\\u003e\\u003c!--"}'


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"a": {"b": [1.0, float("nan")]}}, r"data\['a'\]\['b'\]\[1\] is nan"),
        ({"a": float("inf")}, r"data\['a'\] is inf"),
        ({"a": {1, 2}}, r"data\['a'\] is \{1, 2\}"),
        ({"a": {3: "x"}}, r"the key 3 of data\['a'\]"),
    ],
)
def test_inert_json_names_the_value_it_cannot_write(data: dict[str, object], place: str) -> None:
    with pytest.raises(PellucidError, match=place):
        inert_json(data)


def test_policy_allows_nothing_but_the_given_code() -> None:
    digest = base64.b64encode(hashlib.sha256(b"go()").digest()).decode()
    assert policy(["go()"], []).startswith(f"default-src 'none'; script-src 'sha256-{digest}'; style-src ")
    assert "unsafe" not in policy(["go()"], ["p {}"])


def test_fill_does_not_search_what_it_put_in() -> None:
    assert fill("<{{a}}|{{b}}>", {"a": "{{b}}", "b": "1"}) == "<{{b}}|1>"


def test_static_joins_files_in_order() -> None:
    assert static("dom.js", "format.js") == static("dom.js") + "\n" + static("format.js")
