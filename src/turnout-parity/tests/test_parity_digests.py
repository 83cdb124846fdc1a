"""Digests decide: equal pairs are read no further, and nothing that differs counts as equal."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout_parity.check import check
from turnout_parity.compare_manifests import steps_to_read
from turnout_parity.compare_pair import compare_pair
from turnout_parity.compare_status import compare_attempts_total
from turnout_parity.read_artifacts import read_manifest, read_status
from turnout_parity.report import Kind, ParityReport, Verdict
from turnout_parity.rules import Bounds, Rules
from turnout_parity.run_documents import RunDocuments, read_run

from turnout.errors import ArtifactInvalid
from turnout.model.artifacts import parity_form
from turnout.model.canonical import sha256_of
from turnout.model.storage import ArtifactBody

BY_DIGESTS = Rules(verify_first=0, verify_one_in=1_000_000)
VERIFIED = Rules(verify_one_in=1)
INSERTED = st.sampled_from(
    (
        *(b"", b"0", b"1", b"-", b'"', b"null", b"true", b"{", b"}", b",", b"\x000", b"1.0"),
        *(b"\xff", b'"run_id":"a"', b'"role":"shadow"', b'"at":"2026-02-30T00:00:00.000Z"'),
        *(b"failed", b"a1"),
    )
)


def heads(documents: dict[str, bytes], twins: dict[str, bytes]) -> list[bytes]:
    """List manifest, status, manifest, status."""
    return [d[name] for d in (documents, twins) for name in ("manifest.json", "status.json")]


def read(bodies: list[bytes]) -> tuple[RunDocuments, RunDocuments]:
    """Validate both sides."""
    found = [ArtifactBody(body=body, etag="") for body in bodies]
    return (
        read_run("primary", "a", found[0], found[1]),
        read_run("shadow", "a-dryrun", found[2], found[3]),
    )


def equal(bodies: list[bytes]) -> bool:
    """Tell whether a pair counts as equal without reading anything more of it."""
    primary, shadow = read(bodies)
    result = compare_pair("a", primary, shadow, Bounds(), verify=False)
    record, twin = primary.record, shadow.record
    if record is None or twin is None or result.differences:
        return False
    compare_attempts_total(result, record.status, twin.status)
    same = record.status.result_sha256 == twin.status.result_sha256
    return same and not result.differences and not steps_to_read(record, twin, verify=False)


def same_by_schema(bodies: list[bytes]) -> bool:
    """Tell whether what the schemas declare as exact is the same, except documents of values."""
    try:
        manifests = read_manifest(bodies[0], run_id="a"), read_manifest(bodies[2])
        statuses = read_status(bodies[1], run_id="a"), read_status(bodies[3])
    except ArtifactInvalid:
        return False
    forms = [parity_form(manifest) for manifest in manifests]
    for form in forms:
        del form["task"]  # the status documents are compared by it
        del form["code_version"]  # sides of different code are set aside before
        form["documents"] = [d for d in form["documents"] if d["path"].startswith("steps/")]
    return forms[0] == forms[1] and parity_form(statuses[0]) == parity_form(statuses[1])


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
async def test_equal_pairs_are_read_no_further(shelf: Any, both: dict[str, Any]) -> None:
    """Other clock times, providers and overheads do not make their documents necessary."""
    shelf.pair("a", **both, shadow={"start": 1_780_000_000_000, "overhead_ms": 77})
    report = await shelf.check(rules=BY_DIGESTS)
    assert (report.verdict, report.matched) == (Verdict.PASS, 1)
    assert (report.fetched, report.documents, report.verified) == (4, 10, 0)
    (timing,) = report.timings
    assert (timing.primary_ms, timing.shadow_ms) == (40.0, 77.0)


@pytest.mark.parametrize(
    "shadow",
    [
        {"state": "cancelled"},
        {"result": {"at": "2026-01-01T00:00:00.001Z", "run_id": "a", "role": "primary"}},
        {"steps": []},
        {"key": "other", "limit": 2},
        {"path": ("queued", "running", "running")},
        {"role": "primary"},
    ],
)
def test_what_differs_is_not_equal(pair: Any, shadow: dict[str, Any]) -> None:
    """Nothing that is compared is overlooked."""
    assert not equal(pair(RUNS[2], shadow))


async def test_an_equal_pair_that_is_set_aside_is_not_matched(shelf: Any) -> None:
    """Its shadow's status says so, and no digest covers that."""
    shelf.pair("a", shadow={"not_comparable": "late"})
    report = await shelf.check(rules=BY_DIGESTS)
    assert (report.matched, report.late) == (0, 1)


async def test_a_status_changed_behind_its_manifest_is_noticed_in_any_pair(shelf: Any) -> None:
    """Its bytes are not those that the manifest names, so that all of it is read and compared."""
    shelf.pair("a")
    path = shelf.root / "runs" / "a-dryrun" / "status.json"
    path.write_bytes(path.read_bytes().replace(b'"task":"agent-run"', b'"task":"other"'))
    report = await shelf.check(rules=BY_DIGESTS)
    assert [(d.kind, d.pointer) for d in report.differences] == [(Kind.STATUS, "/task")]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b'"task":"agent-run"', b'"task":"other"', (Kind.STATUS, "/task")),
        (b'"attempts":3', b'"attempts":-3', (Kind.INVALID, "/attempts")),
        (b'"deliveries":1', b'"deliveries":-1', (Kind.INVALID, "/deliveries")),
    ],
)
async def test_a_manifest_that_lies_about_a_status_is_found_in_the_sample(
    shelf: Any, old: bytes, new: bytes, expected: tuple[Kind, str]
) -> None:
    """It names the bytes of the changed status, and the parity digest of the right one."""
    shelf.pair("a")
    folder = shelf.root / "runs" / "a-dryrun"
    status = (folder / "status.json").read_bytes()
    changed = status.replace(old, new)
    (folder / "status.json").write_bytes(changed)
    manifest = (folder / "manifest.json").read_bytes()
    lie = manifest.replace(sha256_of(status).encode(), sha256_of(changed).encode())
    (folder / "manifest.json").write_bytes(lie)
    report = await shelf.check(rules=VERIFIED)
    assert expected in [(d.kind, d.pointer) for d in report.differences]
    assert (report.matched, report.mismatched) == (0, 1)


@pytest.mark.parametrize(
    ("primary", "shadow", "same"),
    [
        *(("completed", "failed", False), (None, "failed", True), ("completed", None, True)),
        *(("completed", "timed_out", False), ("failed", "completed", False)),
        *(("completed", "running", True), ("queued", "completed", True)),
        *(("completed", "cancelled", True), ("cancelled", "completed", True)),
    ],
)
def test_outcomes_at_providers_are_compared_where_both_report_one(
    pair: Any, primary: str | None, shadow: str | None, same: bool
) -> None:
    """A provider that was not asked reports none, nor does one whose process was killed."""
    assert equal(pair({"provider_state": primary}, {"provider_state": shadow})) is same


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_bytes_changed_anywhere_are_never_called_equal(data: st.DataObject) -> None:
    """Whatever is put in, cut or replaced: equal means equal in all that the schemas call exact."""
    bodies = list(data.draw(st.sampled_from(PAIRS)))
    which = data.draw(st.integers(0, 3))
    raw = bodies[which]
    start = data.draw(st.integers(0, len(raw)))
    end = min(len(raw), start + data.draw(st.integers(0, 12)))
    bodies[which] = raw[:start] + data.draw(INSERTED) + raw[end:]
    if equal(bodies):
        assert same_by_schema(bodies)


async def test_digests_and_documents_report_the_same(shelf: Any, run_spec: Any) -> None:
    """A store of everything gives one report, but for what was read, when all documents are."""
    for number, both in enumerate(RUNS):
        shelf.pair(f"same-{number}", **both)
        shelf.pair(f"slow-{number}", **both, shadow={"overhead_ms": 9_000})
    shelf.pair("over", key="k", limit=1)
    shelf.pair("over-2", key="k", limit=1)
    shelf.put(run_spec("alone"))
    reports = [await check(shelf.store, rules=rules) for rules in (BY_DIGESTS, VERIFIED)]
    assert reports[0].verdict is Verdict.FAIL
    assert reports[0].verified == 0
    assert _comparable(reports[0]) == _comparable(reports[1])


def _comparable(report: ParityReport) -> dict[str, Any]:
    return report.model_dump(exclude={"duration_ms", "checked_at", "fetched", "verified"})


PAIRS: list[list[bytes]] = []


@pytest.fixture(autouse=True)
def _pairs(pair: Any) -> None:
    """Make the pairs that are altered, once."""
    if not PAIRS:
        PAIRS.extend(pair(both) for both in RUNS)
