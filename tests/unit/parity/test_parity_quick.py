"""The short way never says "equal" where the long way would not."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout.model.storage import ArtifactBody
from turnout.parity.check import check
from turnout.parity.pair import Rules, compare_heads, to_read, whole
from turnout.parity.quick import Quick
from turnout.parity.report import Report, Verdict
from turnout.parity.sides import read_side
from turnout.parity.steps import compare_totals

SHORT = Rules(verify_first=0, verify_one_in=1_000_000)
LONG = Rules(verify_one_in=1)
PUT_IN = (
    *(b"", b"0", b"1", b"-", b'"', b"null", b"true", b"{", b"}", b",", b"\x000", b"1.0", b"\xff"),
    *(b'"run_id":"a"', b'"role":"shadow"', b'"at":"2026-02-30T00:00:00.000Z"', b"failed", b"a1"),
)
BYTES = st.sampled_from(PUT_IN)


def heads(documents: dict[str, bytes], other: dict[str, bytes]) -> list[bytes]:
    """List manifest, status, manifest, status."""
    return [d[name] for d in (documents, other) for name in ("manifest.json", "status.json")]


def long_way(bodies: list[bytes]) -> bool:
    """Tell whether the long way finds the heads equal, with nothing left to read."""
    found = [ArtifactBody(body=body, etag="") for body in bodies]
    primary = read_side("primary", "a", found[0], found[1])
    shadow = read_side("shadow", "a-dryrun", found[2], found[3])
    compared = compare_heads("a", primary, shadow, LONG)
    one, other = whole(primary), whole(shadow)
    if one is None or other is None or compared.differences:
        return False
    compare_totals(compared, one.status, other.status)
    same = one.status.result_sha256 == other.status.result_sha256
    return same and not compared.differences and not to_read(one, other, verify=False)


@pytest.fixture
def pair(run_spec: Any, documents: Any) -> Callable[..., list[bytes]]:
    """Make the four heads of a pair that is equal but for what is given for its shadow."""

    def make(both: dict[str, Any], shadow: dict[str, Any] | None = None) -> list[bytes]:
        twin = {**both, **(shadow or {})}
        return heads(
            documents(run_spec("a", **both)), documents(run_spec(**{"id": "a-dryrun", **twin}))
        )

    return make


RUNS: list[dict[str, Any]] = [
    {},
    {"key": "k", "limit": 2},
    {"result": {"at": "2026-01-01T00:00:00.000Z", "run_id": "a", "role": "primary"}},
    {"state": "failed", "error": {"name": "E", "message": 'say "at":"x" <0>'}},
    {"task": 'odd,"result":1'},
    {"provider_state": "completed"},
]


@pytest.mark.parametrize("both", RUNS)
def test_usual_pairs_take_the_short_way(pair: Any, both: dict[str, Any]) -> None:
    """Other clock times, providers and overheads do not force the long one."""
    bodies = pair(both, {"start": 1_780_000_000_000, "overhead_ms": 77})
    equal = Quick().look("a", "a-dryrun", tuple(bodies))
    assert equal is not None
    assert equal.overhead == (40.0, 77.0)
    assert (equal.slots is not None) is ("limit" in both)
    assert long_way(bodies)


@pytest.mark.parametrize(
    "shadow",
    [
        {"state": "cancelled"},
        {"result": {"at": "2026-01-01T00:00:00.001Z", "run_id": "a", "role": "primary"}},
        {"code_version": "x"},
        {"steps": []},
        {"key": "other", "limit": 2},
        {"path": ("queued", "running", "running")},
        {"role": "primary"},
        {"not_comparable": "late"},
    ],
)
def test_what_differs_takes_the_long_way(pair: Any, shadow: dict[str, Any]) -> None:
    """Nothing that is compared, and nothing that puts a pair aside, is overlooked."""
    assert Quick().look("a", "a-dryrun", tuple(pair(RUNS[2], shadow))) is None


@pytest.mark.parametrize(
    ("primary", "shadow", "short"),
    [("completed", "failed", False), (None, "failed", True), ("completed", None, True)],
)
def test_what_providers_say_is_compared_where_both_were_asked(
    pair: Any, primary: str | None, shadow: str | None, short: bool
) -> None:
    """A provider that was not asked has said nothing."""
    bodies = pair({"provider_state": primary}, {"provider_state": shadow})
    assert (Quick().look("a", "a-dryrun", tuple(bodies)) is not None) is short
    assert long_way(bodies) is short


@settings(max_examples=400)
@given(st.data())
def test_bytes_changed_anywhere_are_never_called_equal(data: st.DataObject) -> None:
    """Whatever is put in, cut or replaced: short "equal" means long "equal"."""
    bodies = list(data.draw(st.sampled_from(_bodies())))
    which = data.draw(st.integers(0, 3))
    raw = bodies[which]
    start = data.draw(st.integers(0, len(raw)))
    end = min(len(raw), start + data.draw(st.integers(0, 12)))
    bodies[which] = raw[:start] + data.draw(BYTES) + raw[end:]
    quick = Quick()
    quick.look("a", "a-dryrun", tuple(_bodies()[0]))  # it remembers a good shape
    if quick.look("a", "a-dryrun", tuple(bodies)) is not None:
        assert long_way(bodies)


async def test_both_ways_report_the_same(shelf: Any, run_spec: Any) -> None:
    """A store of everything gives one report by either way, but for what was read."""
    for number, both in enumerate(RUNS):
        shelf.pair(f"same-{number}", **both)
        shelf.pair(f"slow-{number}", **both, shadow={"overhead_ms": 9_000})
    shelf.pair("over", key="k", limit=1)
    shelf.pair("over-2", key="k", limit=1)
    shelf.put(run_spec("alone"))
    reports = [await check(shelf.store, rules=rules) for rules in (SHORT, LONG)]
    assert reports[0].verdict is Verdict.FAIL
    assert reports[0].verified == 0
    assert _comparable(reports[0]) == _comparable(reports[1])


def _comparable(report: Report) -> dict[str, Any]:
    return report.model_dump(exclude={"duration_ms", "checked_at", "fetched", "verified"})


def _bodies() -> list[list[bytes]]:
    """Read the pairs that the module's fixture has made."""
    return PAIRS


PAIRS: list[list[bytes]] = []


@pytest.fixture(autouse=True)
def _pairs(pair: Any) -> None:
    if not PAIRS:
        PAIRS.extend(pair(both) for both in RUNS)
