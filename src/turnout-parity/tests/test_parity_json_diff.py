"""What counts as a difference between two JSON documents, and where it is said to be."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_parity.json_diff import ABSENT, differences, escape, resolve, same

from turnout.model.canonical import canonical_bytes

SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text("ab~/", max_size=3)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "step", "a", "a/b", "~"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("primary", "shadow", "pointer"),
    [
        ({"a": True}, {"a": 1}, "/a"),
        ({"a": 1}, {"a": 1.0}, "/a"),
        ({"a": 0.0}, {"a": -0.0}, "/a"),
        ({"a": "1"}, {"a": 1}, "/a"),
        ({"a": None}, {}, "/a"),
        ({"a": []}, {"a": {}}, "/a"),
        ({"a/b": 1}, {"a/b": 2}, "/a~1b"),
        ({"~": 1}, {"~": 2}, "/~0"),
        ([1, 2, 3], [1, 3], "/1"),
        ([True], [1], "/0"),
        (1, 2, ""),
    ],
)
def test_types_and_absence_are_differences_at_their_place(
    primary: Any, shadow: Any, pointer: str
) -> None:
    """Absent is not null, true is not 1, 1 is not 1.0."""
    assert [change.pointer for change in differences(primary, shadow)] == [pointer]


def test_an_absent_value_is_told_from_null() -> None:
    """A name without a value on one side is ABSENT there, and null where it is null."""
    (change,) = differences({"a": None}, {})
    assert (change.primary, change.shadow) == (None, ABSENT)


def test_lists_of_steps_are_aligned_by_their_id() -> None:
    """One step more at the front changes no other step."""
    primary = [{"step": "b", "n": 1}, {"step": "c", "n": 2}]
    shadow = [{"step": "a", "n": 0}, {"step": "b", "n": 1}, {"step": "c", "n": 3}]
    found = {(c.pointer, c.primary is ABSENT) for c in differences(primary, shadow)}
    assert found == {("/1/n", False), ("/0", True)}


def test_the_same_steps_in_another_order_are_one_difference() -> None:
    """Order is told once, with both orders, not as a difference of every step."""
    (change,) = differences([{"id": 1}, {"id": 2}], [{"id": 2}, {"id": 1}])
    assert change.reordered
    assert (change.primary, change.shadow) == ([1, 2], [2, 1])


def test_ids_that_have_nothing_in_common_do_not_align() -> None:
    """Random ids are compared in place instead of as steps that came and went."""
    primary = [{"id": "x1", "v": 1}, {"id": "x2", "v": 2}]
    shadow = [{"id": "y1", "v": 1}, {"id": "y2", "v": 2}]
    assert [c.pointer for c in differences(primary, shadow)] == ["/0/id", "/1/id"]


def test_repeated_ids_do_not_align() -> None:
    """A list in which an id comes twice is compared by index."""
    primary = [{"id": 1, "v": 1}, {"id": 1, "v": 2}]
    shadow = [{"id": 1, "v": 1}, {"id": 1, "v": 3}]
    assert [c.pointer for c in differences(primary, shadow)] == ["/1/v"]


def test_a_nested_bomb_neither_recurses_nor_hangs() -> None:
    """Depth costs memory, never the stack; deep down a subtree is compared as a whole."""
    primary: Any = 1
    shadow: Any = 2
    for _ in range(2_000):
        primary, shadow = [primary], [shadow]
    (change,) = differences(primary, shadow)
    assert change.pointer.count("/") <= 200
    assert not same(primary, shadow)


def test_the_number_of_differences_is_bounded() -> None:
    """A document that differs everywhere gives as many differences as asked for, and no more."""
    assert len(differences(list(range(5_000)), list(range(1, 5_001)), limit=10)) == 10


@given(VALUES, VALUES)
def test_there_is_a_difference_exactly_when_canonical_bytes_differ(a: Any, b: Any) -> None:
    """The differ and the digests never disagree."""
    equal = canonical_bytes(a) == canonical_bytes(b)
    assert same(a, b) is equal
    assert (not differences(a, b)) is equal


@given(VALUES, VALUES)
def test_every_pointer_leads_to_the_values_it_names(a: Any, b: Any) -> None:
    """A pointer holds in the primary's document where the value exists there, else in the other."""
    for change in differences(a, b):
        document, value = (b, change.shadow) if change.primary is ABSENT else (a, change.primary)
        found = resolve(document, change.pointer)
        assert change.reordered or same(found, value)


def test_names_are_escaped_as_the_rfc_says() -> None:
    """`~` is `~0` and `/` is `~1`, in this order."""
    assert escape("~1/") == "~01~1"
