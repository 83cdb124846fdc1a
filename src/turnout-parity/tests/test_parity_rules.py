"""The pure rules: order, pairing, overlap, noise, redaction."""

from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_parity.noise import looks_like_noise
from turnout_parity.overlap import ConcurrencySlot, Overlaps
from turnout_parity.pairing import pairs
from turnout_parity.redaction import HIDDEN, Redaction, redaction
from turnout_parity.report import Difference, Kind, Source
from turnout_parity.step_order import first_difference, shape

from turnout.errors import InvalidSettings
from turnout.model.documents import StepEntry


def entries(*steps: tuple[str, str]) -> list[StepEntry]:
    """List steps by id and branch."""
    return [
        StepEntry.model_validate(
            {"index": n, "step": step, "kind": "step", "branch": branch}, strict=False
        )
        for n, (step, branch) in enumerate(steps)
    ]


def test_parallel_branches_may_come_in_any_order() -> None:
    """Branches of one fork are a set."""
    one = entries(("a", ""), ("b", "1.0"), ("c", "1.0"), ("d", "1.1"), ("e", ""))
    other = entries(("a", ""), ("d", "1.0"), ("b", "1.1"), ("c", "1.1"), ("e", ""))
    assert shape(one) == shape(other)
    assert first_difference(one, other) is None


@pytest.mark.parametrize(
    ("one", "other", "place"),
    [
        ([("a", ""), ("b", "")], [("b", ""), ("a", "")], 0),
        ([("a", ""), ("b", "1.0"), ("c", "1.0")], [("a", ""), ("c", "1.0"), ("b", "1.0")], 1),
        ([("a", "0.0"), ("b", "0.1")], [("a", ""), ("b", "")], 0),
        ([("a", ""), ("b", "1.0"), ("c", "1.1")], [("a", ""), ("b", "1.0"), ("c", "1.0")], 2),
    ],
)
def test_sequences_are_sequences_at_the_top_and_within_a_branch(
    one: Sequence[tuple[str, str]], other: Sequence[tuple[str, str]], place: int
) -> None:
    """Steps one after the other come in that order, and a branch keeps its steps."""
    assert first_difference(entries(*one), entries(*other)) == place


def test_both_ways_of_writing_a_branch_are_read() -> None:
    """`0.1/2.0` and `0000.0001.0002.0000` name the same place."""
    one = entries(("a", "0.0"), ("b", "0.0/1.0"), ("c", "0.0/1.1"), ("d", "0.0"), ("e", "0.1"))
    other = entries(
        *(("e", "0003.0000"), ("a", "0003.0001"), ("c", "0003.0001.0005.0000")),
        *(("b", "0003.0001.0005.0001"), ("d", "0003.0001")),
    )
    assert shape(one) == shape(other)
    moved = entries(("a", "0.0"), ("d", "0.0"), ("b", "0.0/1.0"), ("c", "0.0/1.1"), ("e", "0.1"))
    assert shape(one) != shape(moved)


def test_nested_forks_are_sets_too() -> None:
    """A branch inside a branch may trade places as well."""
    one = entries(("a", "0.0/0.0"), ("b", "0.0/0.1"), ("c", "0.1"))
    other = entries(("c", "0.0"), ("b", "0.1/0.0"), ("a", "0.1/0.1"))
    assert first_difference(one, other) is None


async def _stream(names: Sequence[str]) -> AsyncIterator[str]:
    for name in names:
        yield name


@given(st.sets(st.text("ab-.", min_size=1, max_size=4), max_size=8), st.data())
async def test_pairs_are_found_in_one_sorted_pass(ids: set[str], data: st.DataObject) -> None:
    """Every run and every shadow comes out once, paired exactly where both are there."""
    ids = {each for each in ids if not each.endswith("-dryrun")}
    primaries = {each for each in ids if data.draw(st.booleans())}
    shadows = {each for each in ids if data.draw(st.booleans())}
    names = sorted([*primaries, *(f"{s}-dryrun" for s in shadows)], key=lambda name: f"{name}/")
    found = {
        (p.run_id, p.primary is not None, p.shadow is not None) async for p in pairs(_stream(names))
    }
    assert found == {(each, each in primaries, each in shadows) for each in primaries | shadows}


SLOTS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 10)), max_size=12)


@given(SLOTS, st.integers(1, 3))
def test_overlap_is_found_exactly_where_a_slot_was_taken_too_many(
    slots: list[tuple[int, int]], limit: int
) -> None:
    """The sweep agrees with counting at every start."""
    overlaps = Overlaps()
    for number, (start, lasts) in enumerate(slots):
        overlaps.add(str(number), "shadow", _slot(start, start + lasts, limit))
    held = [(start, start + lasts) for start, lasts in slots if lasts]
    over = any(sum(s <= at < e for s, e in held) > limit for at, _ in held)
    assert bool(list(overlaps.excesses())) is over


def test_the_run_that_came_too_early_is_named() -> None:
    """Not the one that held the slot, but the one that took one more."""
    overlaps = Overlaps()
    overlaps.add("first", "shadow", _slot(0, 100, 1))
    overlaps.add("next", "shadow", _slot(100, 200, 1))
    overlaps.add("early", "shadow", _slot(150, 300, 1))
    overlaps.add("other side", "primary", _slot(0, 300, 1))
    assert [(e.run_id, e.at_once) for e in overlaps.excesses()] == [("early", 2)]


def _slot(start: float, end: float, limit: int) -> ConcurrencySlot:
    return ConcurrencySlot(task="t", key="k", limit=limit, start_ms=start, end_ms=end)


@pytest.mark.parametrize(
    ("primary", "shadow", "noisy"),
    [
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:01.5Z", True),
        ("at 10:00:00 by x", "at 10:00:01 by x", True),
        ("at 10:00:00 by x", "at 10:00:01 by y", False),
        ("3f2b8c1d-aaaa-4bbb-8ccc-1234567890ab", "9f2b8c1d-aaaa-4bbb-8ccc-1234567890ab", True),
        ("req_9f8a7b6c5d4e", "req_1a2b3c4d5e6f", True),
        ("01J9ZX5M4T8N2V6Q7R3S1W0YAB", "01J9ZX5M4T8N2V6Q7R3S1W0YAC", True),
        (1_770_000_000, 1_770_000_001, True),
        (1_770_000_000_123, 1_770_000_001_123, True),
        ("completed", "failed", False),
        (1, 2, False),
        (True, False, False),
        ("2026-01-01", None, False),
        ("x" * 5000, "y" * 5000, False),
    ],
)
def test_noise_is_what_a_clock_or_a_die_writes(
    primary: object, shadow: object, noisy: bool
) -> None:
    """Both sides have the shape, and are equal apart from it."""
    assert looks_like_noise(primary, shadow) is noisy


def _difference(pointer: str, value: object) -> Difference:
    return Difference(
        run_id="r",
        artifact="a",
        pointer=pointer,
        kind=Kind.OUTPUT,
        primary=value,
        shadow=None,
        source=Source.RECORDED,
        detail="was Bearer abcdefghijkl",
    )


@pytest.mark.parametrize(
    ("pointer", "value", "told"),
    [
        ("/output/password", "hunter2", HIDDEN),
        ("/output/apiKey/0", "hunter2", HIDDEN),
        (
            "/output",
            {"deep": [{"client_secret": "x", "n": 1}]},
            {"deep": [{"client_secret": HIDDEN, "n": 1}]},
        ),
        ("/output/url", "postgres://me:pw@host/db", f"{HIDDEN}host/db"),
        ("/output/card", "4111-1111", HIDDEN),
        ("/output/tokens", 12, 12),
    ],
)
def test_secrets_are_hidden_by_name_and_by_pattern(
    pointer: str, value: object, told: object
) -> None:
    """What stands under a secret's name, or looks like one, is never repeated."""
    hidden = redaction([r"\d{4}-\d{4}"]).difference(_difference(pointer, value))
    assert hidden.primary == told
    assert "abcdefghijkl" not in (hidden.detail or "")


def test_a_pattern_that_is_no_pattern_is_refused_by_name() -> None:
    """The text of the error repeats the pattern."""
    with pytest.raises(InvalidSettings, match=r"--redact '\('"):
        redaction(["("])


def test_nothing_is_hidden_where_there_is_nothing_to_hide() -> None:
    """A plain value comes through as it is."""
    assert Redaction().value({"a": [1, None, "x"]}) == {"a": [1, None, "x"]}
