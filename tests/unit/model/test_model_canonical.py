"""Canonical JSON keeps types apart and refuses what cannot travel."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.errors import InvalidJson, TooLarge
from turnout.model.canonical import (
    MAX_DEPTH,
    canonical_bytes,
    parse,
    pointer_of,
    sha256_of,
)

numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)


def deep(levels: int) -> Any:
    """Arrays within arrays."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def typed(value: Any) -> Any:
    """The value with its types written out, because 1 == 1.0 == True in Python."""
    if isinstance(value, dict):
        return {name: typed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return (type(value).__name__, repr(value))


@given(values)
def test_what_is_written_is_read_back_with_its_types(value: Any) -> None:
    """Parsing canonical bytes gives the same value of the same types."""
    text = canonical_bytes(value)
    assert typed(parse(text)) == typed(value)
    assert canonical_bytes(parse(text)) == text


@given(values)
def test_another_writer_is_read_alike(value: Any) -> None:
    """Blanks, escapes and the order of names do not matter to what is read."""
    for text in (json.dumps(value), json.dumps(value, indent=2, ensure_ascii=False)):
        assert canonical_bytes(parse(text.encode())) == canonical_bytes(value)


@given(values)
def test_it_can_be_written_without_us(value: Any) -> None:
    """Canonical JSON is what the standard library writes when told so; others can make digests."""
    theirs = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical_bytes(value) == theirs.encode()


@given(st.dictionaries(names, numbers))
def test_the_order_of_names_does_not_matter(value: dict[str, Any]) -> None:
    """Names are sorted by code point."""
    turned = dict(reversed(value.items()))
    assert canonical_bytes(turned) == canonical_bytes(value)
    assert list(parse(canonical_bytes(value))) == sorted(value)


@pytest.mark.parametrize(
    ("a", "b"), [(True, 1), (1, 1.0), (0, False), (0.0, -0.0), (None, False), ({"a": None}, {})]
)
def test_types_are_kept_apart(a: Any, b: Any) -> None:
    """What Python calls equal is not equal here."""
    assert canonical_bytes(a) != canonical_bytes(b)


@pytest.mark.parametrize(
    ("value", "pointer", "says"),
    [
        ({"a": [1, math.nan]}, "/a/1", "nan is no JSON number"),
        ([math.inf], "/0", "inf is no JSON number"),
        ({"a/b": {"~": 2**64}}, "/a~1b/~0", "beyond 64 bits; send it as a string"),
        ({"a": -(2**63) - 1}, "/a", "beyond 64 bits"),
        ({"a": {1: 2}}, "/a", "the name 1 is no string"),
        ({"a": "\ud800"}, "/a", "lone surrogate"),
        ({"a": {"\ud800": 1}}, "/a", "lone surrogate"),
        ({"a": {1, 2}}, "/a", "set is no JSON type"),
        ({"a": b"1"}, "/a", "bytes is no JSON type"),
        (deep(MAX_DEPTH + 1), "/0" * MAX_DEPTH, "nests more than 100 levels"),
        (deep(400), "/0" * MAX_DEPTH, "nests more than 100 levels"),
    ],
)
def test_what_cannot_be_written_is_named_by_its_place(value: Any, pointer: str, says: str) -> None:
    """Nothing is silently turned into null, a float or a string."""
    with pytest.raises(InvalidJson, match=says) as caught:
        canonical_bytes(value)
    assert caught.value.pointer == pointer


def test_a_cycle_is_refused() -> None:
    """A value that holds itself nests too deeply."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidJson, match="nests more than"):
        canonical_bytes(value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"NaN", "not JSON"),
        (b'{"a": 1e999}', "infinity"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'"\xff"', "UTF-8"),
        (b'"\\ud800"', "surrogate"),
        (b'{"a": 18446744073709551616}', "beyond 64 bits"),
        (b'{"a": -9223372036854775809}', "beyond 64 bits"),
        (b'{"a":' + b"9" * 300 + b"}", "beyond 64 bits"),
        (b'{"a":' + b"9" * 100_000 + b"}", "infinity"),
        (b'{"a": 1, "b": {"x": 1, "x": 1}}', "the name 'x' occurs twice"),
        (b'{"a": 1, "\\u0061": 2}', "the name 'a' occurs twice"),
        (b"[" * 101 + b"]" * 101, "nests more than 100"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nests more than 100"),
    ],
)
def test_what_is_no_strict_json_is_refused(text: bytes, says: str) -> None:
    """Also what orjson alone would accept in silence."""
    with pytest.raises(InvalidJson, match=says):
        parse(text)


def test_the_deepest_document_that_is_written_can_be_read() -> None:
    """The limits of writing and reading are one."""
    text = canonical_bytes(deep(MAX_DEPTH))
    assert canonical_bytes(parse(text)) == text


def test_brackets_in_strings_are_no_depth() -> None:
    """Only what nests counts."""
    value = {"a": "[" * 5_000, "b": [[]] * 500}
    assert parse(canonical_bytes(value)) == value


def test_a_large_document_is_refused_before_it_is_parsed() -> None:
    """The bytes need not even be JSON."""
    with pytest.raises(TooLarge, match=r"has 50,000,000 bytes; at most 8,388,608 are read"):
        parse(b"\0" * 50_000_000)
    assert parse(b"[1]", max_bytes=3) == [1]


def test_a_pointer_escapes_its_parts() -> None:
    """RFC 6901."""
    assert pointer_of(()) == ""
    assert pointer_of(("a/b", 0, "~", "")) == "/a~1b/0/~0/"


def test_a_digest_is_lower_case_hex() -> None:
    """As sha256sum writes it."""
    assert sha256_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
