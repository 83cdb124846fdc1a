"""The check over a store: every kind of difference by name, and nothing hostile stops it."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from turnout_parity.counts import KIND_LIMIT
from turnout_parity.report import Kind, ParityReport, Source, Verdict
from turnout_parity.rules import Bounds, Rules
from turnout_parity.summary import shown_rate


def told(report: ParityReport) -> list[tuple[Kind, str | None, str, str]]:
    """List the differences by kind, step, document and pointer."""
    return [(d.kind, d.step, d.artifact, d.pointer) for d in report.differences]


async def test_equal_pairs_match(shelf: Any) -> None:
    """Nothing differs: PASS, with what was only replayed counted as not tested."""
    for number in range(5):
        shelf.pair(f"run-{number}")
    report = await shelf.check()
    assert report.verdict is Verdict.PASS
    assert (report.pairs, report.matched, report.differences) == (5, 5, [])
    assert report.not_tested == 15
    assert report.tasks["agent-run"].pairs == 5
    assert report.fields["output (by construction)"].source is Source.CONSTRUCTION


@pytest.mark.parametrize(("clean", "rate"), [(20, 0.86), (59, 0.95), (299, 0.99), (2995, 0.999)])
def test_a_pass_says_how_little_it_shows(clean: int, rate: float) -> None:
    """The one-sided bound of Clopper and Pearson without a mismatch."""
    assert shown_rate(clean) == pytest.approx(rate, abs=0.001)


async def test_no_pair_at_all_is_inconclusive(shelf: Any) -> None:
    """An empty store proves nothing."""
    report = await shelf.check()
    assert (report.verdict, report.verdict.exit_code) == (Verdict.INCONCLUSIVE, 3)


async def test_executed_outputs_are_tested(shelf: Any) -> None:
    """Where the shadow ran the steps itself, equal outputs count as compared."""
    shelf.pair("a", shadow={"shadow_mode": "execute"})
    report = await shelf.check()
    assert report.not_tested == 0
    assert report.fields["output"].compared == 4


PLANTED: dict[str, tuple[dict[str, Any], tuple[Kind, str | None, str, str]]] = {
    "status": ({"state": "cancelled"}, (Kind.STATUS, None, "status.json", "/state")),
    "transitions": (
        {"path": ("queued", "running", "queued", "running")},
        (Kind.TRANSITIONS, None, "status.json", "/transitions"),
    ),
    "slow": (
        {"overhead_ms": 10_040},
        (Kind.SLOW, None, "status.json", "/timings/overhead_ms"),
    ),
    "result": ({"result": {"v": 1}}, (Kind.OUTPUT, None, "status.json", "/result")),
    "task": ({"task": "b"}, (Kind.STATUS, None, "status.json", "/task")),
}


@pytest.mark.parametrize("name", PLANTED)
async def test_a_planted_fault_of_a_run_is_named(shelf: Any, name: str) -> None:
    """Kind, document and pointer say what differs, the run says where."""
    shadow, expected = PLANTED[name]
    shelf.pair("good")
    shelf.pair("bad", shadow=shadow)
    report = await shelf.check()
    assert report.verdict is Verdict.FAIL
    assert (report.matched, report.mismatched) == (1, 1)
    assert told(report) == [expected]
    assert report.differences[0].run_id == "bad"


async def test_a_missing_step_is_named_once(shelf: Any, spec: Any) -> None:
    """One step less is one difference, not another order of all that follow."""
    shelf.pair(
        "a", shadow={"steps": [spec("load", {"from": "load"}), spec("store", {"from": "store"})]}
    )
    report = await shelf.check()
    assert told(report) == [(Kind.STEP, "summarise", "manifest.json", "/steps/1")]
    assert report.differences[0].absent == "shadow"


async def test_a_step_too_many_is_named(shelf: Any, spec: Any) -> None:
    """The primary's side is absent."""
    one = [spec("load")]
    shelf.pair("a", steps=one, shadow={"steps": [*one, spec("extra")]})
    report = await shelf.check()
    assert told(report) == [(Kind.STEP, "extra", "manifest.json", "/steps/1")]
    assert report.differences[0].absent == "primary"


async def test_another_order_is_named_at_the_first_step_that_moved(shelf: Any, spec: Any) -> None:
    """Both orders are told."""
    a, b, c = (spec(each) for each in "abc")
    shelf.pair("r", steps=[a, b, c], shadow={"steps": [a, c, b]})
    report = await shelf.check()
    assert told(report) == [(Kind.ORDER, "b", "manifest.json", "/steps/1/step")]
    assert "a → c → b" in (report.differences[0].detail or "")


async def test_parallel_branches_in_another_order_match(shelf: Any, spec: Any) -> None:
    """Branches are a set; their documents differ only in their place."""
    shelf.pair(
        "r",
        steps=[spec("a", branch="0.0"), spec("b", branch="0.1")],
        shadow={"steps": [spec("b", branch="0.0"), spec("a", branch="0.1")]},
    )
    report = await shelf.check()
    assert (report.verdict, report.differences) == (Verdict.PASS, [])


async def test_attempts_are_compared_by_step(shelf: Any, spec: Any) -> None:
    """Another number of tries names the step and both numbers."""
    shelf.pair(
        "r", steps=[spec("a")], shadow={"steps": [spec("a", outcomes=("failed", "completed"))]}
    )
    report = await shelf.check()
    assert told(report) == [(Kind.ATTEMPTS, "a", "steps/0000-a.json", "/attempts")]
    assert (report.differences[0].primary, report.differences[0].shadow) == (1, 2)


async def test_an_interrupted_attempt_does_not_count(shelf: Any, spec: Any) -> None:
    """A graceful stop in the middle of a try is no fault of a provider."""
    shelf.pair(
        "r", steps=[spec("a")], shadow={"steps": [spec("a", outcomes=("interrupted", "completed"))]}
    )
    assert (await shelf.check()).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("gap_ms", "fits"), [(1_000, True), (3_000, True), (200, False), (9_000, False)]
)
async def test_delays_between_tries_are_held_to_a_tolerance(
    shelf: Any, spec: Any, gap_ms: int, fits: bool
) -> None:
    """Not earlier than planned, not later than the bound."""
    tries = {"outcomes": ("failed", "completed"), "planned_ms": 1_000}
    shelf.pair(
        "r",
        steps=[spec("a", gap_ms=1_050, **tries)],
        shadow={"steps": [spec("a", gap_ms=gap_ms, **tries)]},
    )
    report = await shelf.check()
    kinds = [d.kind for d in report.differences]
    assert kinds == ([] if fits else [Kind.DELAY])
    assert report.fields["delay"].compared == 1


async def test_a_replayed_output_that_differs_is_a_mismatch(shelf: Any, spec: Any) -> None:
    """Equal by construction proves nothing; different in spite of it proves a fault."""
    shelf.pair(
        "r", steps=[spec("a", {"n": [1, 2]})], shadow={"steps": [spec("a", {"n": [1, True]})]}
    )
    report = await shelf.check()
    assert told(report) == [(Kind.OUTPUT, "a", "steps/0000-a.json", "/output/n/1")]
    assert report.differences[0].source is Source.CONSTRUCTION
    assert report.differences[0].label is None
    explanation = report.differences[0].explanation
    assert explanation is not None
    assert explanation.summary == "1 type changed"
    assert explanation.lines == ["/output/n/1: 2 became true: integer became boolean"]


async def test_noise_is_labelled_where_the_shadow_ran_the_step(shelf: Any, spec: Any) -> None:
    """A clock time and a random id are still mismatches, with a label that says why."""
    shelf.pair(
        "r",
        steps=[spec("a", {"at": "2026-01-01T10:00:00Z", "state": "x"})],
        shadow={
            "shadow_mode": "execute",
            "steps": [spec("a", {"at": "2026-01-01T10:00:03Z", "state": "y"})],
        },
    )
    report = await shelf.check()
    assert {d.pointer: d.label for d in report.differences} == {
        "/output/at": "noise-like",
        "/output/state": None,
    }
    assert report.verdict is Verdict.FAIL


async def test_large_outputs_are_compared_beside_their_documents(shelf: Any, spec: Any) -> None:
    """A value kept by its digest is read only where the digests differ."""
    big = ["x" * 50 for _ in range(3_000)]
    shelf.pair("same", steps=[spec("a", big)])
    shelf.pair("other", steps=[spec("a", big)], shadow={"steps": [spec("a", [*big[:-1], "y"])]})
    report = await shelf.check()
    assert told(report) == [(Kind.OUTPUT, "a", "steps/0000-a.json", "/output/2999")]


async def test_a_missing_twin_is_a_mismatch(shelf: Any, run_spec: Any) -> None:
    """On either side."""
    shelf.put(run_spec("lonely"))
    shelf.put(run_spec("orphan-dryrun"))
    report = await shelf.check()
    assert (report.pairs, report.mismatched, report.missing) == (2, 2, 2)
    assert {(d.run_id, d.kind, d.absent) for d in report.differences} == {
        ("lonely", Kind.MISSING, "shadow"),
        ("orphan", Kind.MISSING, "primary"),
    }


async def test_a_missing_document_is_named(shelf: Any, run_spec: Any) -> None:
    """One step's document that is not there fails its pair, and is not a missing twin."""
    shelf.put(run_spec("a"))
    shelf.put(run_spec("a-dryrun"), without=["steps/0001-summarise.json"])
    report = await shelf.check()
    assert told(report) == [(Kind.MISSING, None, "steps/0001-summarise.json", "")]
    assert (report.mismatched, report.missing) == (1, 0)


async def test_overlap_fails_at_once_and_counts_its_pair_once(shelf: Any) -> None:
    """Two runs of one key at once are told for the one that came too early."""
    same: dict[str, Any] = {"key": "agent-7", "limit": 1, "lasts_ms": 500}
    start = 1_770_000_000_000
    shelf.pair("a", start=start, shadow={"start": start}, **same)
    shelf.pair("b", start=start + 1_000, shadow={"start": start + 300}, **same)
    report = await shelf.check()
    assert (report.pairs, report.matched, report.mismatched) == (2, 1, 1)
    (found,) = report.differences
    assert (found.run_id, found.kind, found.shadow) == ("b", Kind.OVERLAP, 2)


async def test_late_and_incomparable_pairs_are_counted_and_not_compared(
    shelf: Any, run_spec: Any
) -> None:
    """Neither matched nor mismatched, and with a reason each."""
    shelf.pair("ok")
    shelf.put(run_spec("late", not_comparable="late"))
    shelf.pair("broken", not_comparable="provider_failure", shadow={"state": "failed"})
    shelf.put(run_spec("going", state="running"))
    report = await shelf.check()
    assert (report.pairs, report.matched, report.late, report.not_comparable) == (1, 1, 2, 1)
    assert report.verdict is Verdict.PASS
    assert {s.run_id: s.why for s in report.set_aside} == {
        "late": "late",
        "broken": "not_comparable",
        "going": "late",
    }


async def test_pairs_of_different_code_are_not_comparable(shelf: Any) -> None:
    """A deploy between a primary and its shadow is no difference, whatever else differs."""
    shelf.pair("ok")
    shelf.pair("straddling", shadow={"code_version": "x", "state": "failed"})
    report = await shelf.check()
    assert (report.verdict, report.pairs, report.not_comparable) == (Verdict.PASS, 1, 1)
    (aside,) = report.set_aside
    assert (aside.run_id, aside.why) == ("straddling", "not_comparable")
    assert aside.reason == "the sides ran different code: abc, x"


async def test_a_window_says_which_runs_need_a_twin(shelf: Any, run_spec: Any) -> None:
    """Runs emitted outside it, or of other tasks, are single by design."""
    start = datetime.fromtimestamp(1_770_000_000, UTC)
    shelf.write(
        "parity-window.json",
        orjson.dumps(
            {
                "schema": "turnout/parity-window@1",
                "spans": [
                    {"task": "agent-run", "since": start, "until": start + timedelta(hours=1)}
                ],
                "set_aside": [
                    {"run_id": "aside", "why": "not_comparable", "reason": "vendor outage"}
                ],
            }
        ),
    )
    shelf.pair("pair")
    shelf.put(run_spec("inside"))
    shelf.put(run_spec("before", start=1_769_999_999_000))
    shelf.put(run_spec("other", task="daily-report"))
    shelf.put(run_spec("aside"))
    report = await shelf.check()
    assert (report.pairs, report.missing, report.single, report.not_comparable) == (2, 1, 2, 1)
    assert report.set_aside[0].reason == "vendor outage"


async def test_a_window_that_cannot_be_believed_decides_nothing(shelf: Any, run_spec: Any) -> None:
    """Nor does it fail anything: which runs need a twin, and which pairs count, is not known."""
    shelf.pair("pair")
    shelf.pair("worse", shadow={"result": 1})
    shelf.put(run_spec(id="alone"))
    shelf.write("parity-window.json", b'{"schema": "turnout/parity-window@1", "spans": 7}')
    report = await shelf.check()
    assert report.verdict is Verdict.INCONCLUSIVE
    assert (report.matched, report.mismatched, report.single) == (1, 1, 1)
    assert "/spans" in report.warnings[0]


async def test_a_window_too_large_to_be_read_is_not_believed(shelf: Any) -> None:
    """There is a report all the same."""
    shelf.pair("pair")
    shelf.write("parity-window.json", b" " * 50_000_000)
    report = await shelf.check()
    assert (report.verdict, report.matched) == (Verdict.INCONCLUSIVE, 1)
    assert "50,000,000 bytes" in report.warnings[0]


HOSTILE = {
    "corrupt": b"{not json",
    "cut short": b'{"schema":"turnout/step@1","run_id":"bad-dry',
    "empty": b"",
    "foreign": b'{"schema":"someone/else@9","run_id":"bad-dryrun"}',
    "an array": b"[]",
    "not UTF-8": b'{"schema":"\xff"}',
    "a bomb": b"[" * 100_000,
    "repeated names": b'{"schema":"turnout/step@1","schema":"turnout/step@1"}',
    "50 MB": b'{"schema":"' + b"x" * 50_000_000 + b'"}',
}
DOCUMENTS = ("manifest.json", "status.json", "steps/0000-load.json")


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_document_fails_its_pair_and_no_other(
    shelf: Any, run_spec: Any, name: str, document: str
) -> None:
    """The kind is invalid, the document is named, and the check goes on."""
    shelf.pair("after")
    shelf.put(run_spec("bad"))
    shelf.put(run_spec("bad-dryrun"))
    shelf.write(f"runs/bad-dryrun/{document}", HOSTILE[name])
    report = await shelf.check()
    assert (report.matched, report.mismatched) == (1, 1)
    assert {(d.run_id, d.kind, d.artifact) for d in report.differences} == {
        ("bad", Kind.INVALID, document)
    }
    assert report.differences[0].detail is not None
    assert report.differences[0].detail.startswith("shadow: ")


async def test_a_document_of_another_run_is_invalid(shelf: Any, run_spec: Any) -> None:
    """A copy of someone else's artifact is not this run's."""
    shelf.put(run_spec("a"))
    found = shelf.put(run_spec("b-dryrun"))
    shelf.put(run_spec("b"))
    shelf.put(run_spec("a-dryrun"))
    shelf.write("runs/a-dryrun/status.json", found["status.json"])
    report = await shelf.check()
    assert told(report) == [(Kind.INVALID, None, "status.json", "/run_id")]


async def test_swapped_sides_are_named(shelf: Any, run_spec: Any) -> None:
    """A primary's artifacts in a shadow's folder, and the other way round, prove nothing."""
    shelf.put(run_spec("a", role="shadow", shadow_mode="replay"))
    shelf.put(run_spec("a-dryrun", role="primary"))
    report = await shelf.check()
    assert report.verdict is Verdict.FAIL
    assert told(report) == [(Kind.INVALID, None, "status.json", "/role")] * 2


async def test_a_document_that_its_manifest_does_not_know_is_found_out(
    shelf: Any, run_spec: Any, spec: Any
) -> None:
    """Digests are verified on a sample, which is every pair of a small store."""
    shelf.pair("a")
    changed = run_spec("a-dryrun", steps=[spec("load", {"from": "elsewhere"})])
    shelf.put(changed, without=["manifest.json", "status.json"])
    report = await shelf.check()
    assert (Kind.INVALID, None, "steps/0000-load.json", "") in told(report)
    assert (Kind.OUTPUT, "load", "steps/0000-load.json", "/output/from") in told(report)


async def test_a_step_listed_twice_is_invalid(shelf: Any, spec: Any) -> None:
    """Even where both sides agree on it."""
    shelf.pair("a", steps=[spec("x"), spec("x")])
    report = await shelf.check()
    assert {(d.kind, d.step) for d in report.differences} == {(Kind.INVALID, "x")}


async def test_a_run_without_its_documents_is_a_mismatch(shelf: Any) -> None:
    """Emptied on both sides, on one, or down to its steps: whoever named it meant a run."""
    shelf.pair("good")
    for name in ("both", "both-dryrun", "one", "two-dryrun"):
        (shelf.root / "runs" / name).mkdir()
    shelf.write("runs/only-steps/steps/0000-a.json", b"{}")
    report = await shelf.check()
    assert (report.verdict, report.mismatched, report.missing) == (Verdict.FAIL, 4, 4)
    assert {d.run_id for d in report.differences} == {"both", "one", "two", "only-steps"}
    assert {d.kind for d in report.differences} == {Kind.MISSING}


async def test_a_name_that_is_no_text_is_junk(shelf: Any) -> None:
    """It cannot be read, and it is counted."""
    shelf.pair("good")
    os.mkdir(os.fsencode(shelf.root / "runs") + b"/z\xff")  # noqa: PTH102 (a name that is no text)
    report = await shelf.check()
    assert (report.verdict, report.junk) == (Verdict.PASS, 1)


async def test_a_step_that_the_manifest_does_not_list_is_seen(shelf: Any) -> None:
    """In a pair that is verified, where it lies on disk."""
    shelf.pair("a")
    shelf.write("runs/a-dryrun/steps/0009-more.json", b"{}")
    report = await shelf.check()
    (found,) = report.differences
    assert (found.kind, found.artifact) == (Kind.INVALID, "steps/0009-more.json")


@pytest.mark.parametrize("first", [0, 100])
async def test_manifests_that_were_emptied_pass_nothing(shelf: Any, first: int) -> None:
    """Also where both sides agree on it, and the pair is in no sample."""
    shelf.pair("a")
    for name in ("a", "a-dryrun"):
        path = shelf.root / "runs" / name / "manifest.json"
        emptied = {**orjson.loads(path.read_bytes()), "steps": [], "documents": []}
        path.write_bytes(orjson.dumps(emptied, option=orjson.OPT_SORT_KEYS))
    report = await shelf.check(rules=Rules(verify_first=first, verify_one_in=1_000_000_007))
    assert report.verdict is Verdict.FAIL
    unlisted = {d.artifact for d in report.differences if d.artifact.startswith("steps/")}
    assert len(unlisted) == 3


async def test_junk_in_the_store_is_counted_and_passed_over(shelf: Any) -> None:
    """Thousands of strange names neither stop the check nor become pairs."""
    shelf.pair("good")
    for number in range(1_000):
        shelf.write(f"runs/.junk{number}/x.json", b"{}")
    for name in ("..a", "a b", "-dryrun", "<script>", "x" * 200, "é", "a-dryrun-dryrun"):
        shelf.write(f"runs/{name}/status.json", b"{}")
    shelf.write("runs/loose.json", b"{}")
    report = await shelf.check()
    assert (report.pairs, report.matched, report.verdict) == (1, 1, Verdict.PASS)
    assert report.junk >= 1_000
    assert any("belong to no run" in warning for warning in report.warnings)


async def test_ids_that_start_alike_are_not_mixed_up(shelf: Any, run_spec: Any) -> None:
    """`a`, `a-b`, `a.b` and `a-dryrun-x` are runs of their own."""
    for run_id in ("a", "a-b", "a.b", "a-dryrun-x", "a-e", "a0"):
        shelf.pair(run_id)
    shelf.put(run_spec("a-c"))
    report = await shelf.check()
    assert (report.matched, report.missing) == (6, 1)


async def test_the_list_of_differences_is_bounded_and_the_counts_are_not(shelf: Any) -> None:
    """What is cut is said by the total."""
    most = KIND_LIMIT + 20
    values = [list(range(most)), list(range(1, most + 1))]
    shelf.pair("a", result=values[0], shadow={"result": values[1]})
    report = await shelf.check()
    assert len(report.differences) == KIND_LIMIT
    assert report.differences_total == most


async def test_progress_is_told_and_results_do_not_depend_on_timing(shelf: Any) -> None:
    """Two checks of one store give the same report, but for the clock."""
    for number in range(30):
        shelf.pair(f"r{number:02}", shadow={"result": number})
    seen: list[int] = []
    now = datetime(2026, 1, 1, tzinfo=UTC)
    one = await shelf.check(progress=seen.append, now=now)
    other = await shelf.check(now=now)
    assert seen[-1] == 30
    assert one.model_copy(update={"duration_ms": 0}) == other.model_copy(update={"duration_ms": 0})


async def test_bounds_can_be_set(shelf: Any) -> None:
    """The bound on overhead is a value, not a law."""
    shelf.pair("a", shadow={"overhead_ms": 1_500})
    assert (await shelf.check()).verdict is Verdict.PASS
    assert (await shelf.check(rules=Rules(bounds=Bounds(slow_ms=1_000)))).verdict is Verdict.FAIL
