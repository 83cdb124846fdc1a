"""Labels: what is taken, and the bound that an error names."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.errors import InvalidJson, TooLarge, WrongUse
from turnout.model.labels import (
    LARGEST_METADATA,
    LONGEST_LABEL,
    MAX_TAGS,
    Labels,
    read_labels,
)


def shared(depth: int) -> dict[str, Any]:
    """Metadata of a few objects that would be written as 2**depth."""
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value, "b": value}
    return value


def endless() -> dict[str, Any]:
    """Metadata that contains itself."""
    value: dict[str, Any] = {}
    value["self"] = [value]
    return value


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ({"tags": ["x" * 10_000]}, WrongUse, "10,000 characters; 1 to 128"),
        ({"tags": [""]}, WrongUse, "empty text; 1 to 128"),
        ({"tags": [str(number) for number in range(MAX_TAGS + 1)]}, WrongUse, "at most 10"),
        ({"tags": "one"}, WrongUse, "give a list of texts, not a str"),
        ({"tags": 5}, WrongUse, "give a list of texts, not a int"),
        ({"tags": [7]}, WrongUse, "7 is no text"),
        ({"tags": ["a\nb"]}, WrongUse, "control character"),
        ({"tags": ["\ud800"]}, WrongUse, "lone surrogate"),
        ({"tags": ["turnout:r.1"]}, WrongUse, "only Turnout's own tags"),
        ({"user_id": "u" * 129}, WrongUse, "129 characters; 1 to 128"),
        ({"user_id": True}, WrongUse, "True is no text"),
        ({"user_id": {"id": 1}}, WrongUse, "is no text"),
        ({"metadata": []}, WrongUse, "a JSON object, not a list"),
        ({"metadata": {"a": "x" * 20_000}}, TooLarge, "at most 16,384 bytes"),
        ({"metadata": {"a": "é" * 9_000}}, TooLarge, "at most 16,384 bytes"),
        ({"metadata": {str(number): 0 for number in range(9_000)}}, TooLarge, "at most 16,384"),
        ({"metadata": shared(90)}, TooLarge, "at most 16,384"),
        ({"metadata": endless()}, TooLarge, "at most 16,384"),
        ({"metadata": {"a": float("nan")}}, InvalidJson, "no JSON number"),
        ({"metadata": {"a": object()}}, InvalidJson, "no JSON type"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_its_bound(
    labels: dict[str, Any], error: type[WrongUse], message: str
) -> None:
    """The error names what is taken; nothing is written of a bomb before it is refused."""
    with pytest.raises(error, match=message):
        read_labels(**{"tags": (), "user_id": None, "metadata": None, **labels})


def test_deep_metadata_is_refused_like_any_json() -> None:
    """A hundred levels are as deep as JSON may be."""
    value: dict[str, Any] = {}
    for _ in range(101):
        value = {"a": value}
    with pytest.raises(InvalidJson, match="levels deep"):
        read_labels((), None, value)


_LABEL = st.text(
    st.characters(exclude_categories=("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs")),
    min_size=1,
    max_size=LONGEST_LABEL,
).filter(lambda text: not text.startswith("turnout:"))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text("aé☃", max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab"), inner, max_size=4),
    max_leaves=20,
)


@given(
    tags=st.lists(_LABEL, max_size=MAX_TAGS),
    user_id=st.none() | _LABEL | st.integers(0, 2**64),
    metadata=st.none() | st.dictionaries(st.text("xyz"), _JSON, max_size=5),
)
def test_what_fits_is_taken_as_it_is(
    tags: list[str], user_id: str | int | None, metadata: dict[str, Any] | None
) -> None:
    """Tags in order, each once; a number is a user's id as text; metadata as canonical JSON."""
    labels = read_labels(tags, user_id, metadata)
    assert labels.tags == tuple(dict.fromkeys(tags))
    assert labels.user_id == (None if user_id is None else str(user_id))
    assert (None if labels.metadata is None else orjson.loads(labels.metadata)) == metadata
    assert len(labels.metadata or b"") <= LARGEST_METADATA


def test_no_labels_are_none() -> None:
    """An event without any has none."""
    assert read_labels((), None, None) == Labels()
