"""Gates: evidence by task, its error rates, the file that sets them, and how they are shown."""

import json
from collections.abc import Callable
from math import exp, log
from random import Random
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_parity.command import app
from turnout_parity.gates.blocks import BURN_IN, block_lengths, block_means
from turnout_parity.gates.evaluate import evaluate, worst
from turnout_parity.gates.gate_file import GateFile, TaskGates, read_gates
from turnout_parity.gates.sequential_test import (
    MOSTLY,
    NEARLY_ALWAYS,
    Evidence,
    SequentialTest,
    rate_interval,
)
from turnout_parity.gates.times import time_gates
from turnout_parity.report import Kind, TaskCount, Verdict
from typer.testing import CliRunner

from turnout.errors import InvalidSettings


@pytest.mark.parametrize(
    ("rate", "clean", "with_one_miss"),
    [(0.95, 64, 129), (0.99, 358, 653), (0.995, 735, 1317)],
)
def test_so_many_clean_pairs_show_a_rate(rate: float, clean: int, with_one_miss: int) -> None:
    """The numbers of pairs that the exact mixture needs, without and with one mismatch."""
    test = SequentialTest(rate=rate, prior=NEARLY_ALWAYS, alpha=0.05)
    assert test.evidence(clean - 1, 0) is Evidence.NEITHER
    assert test.evidence(clean, 0) is Evidence.ABOVE
    assert test.more_trials(10, 0) == clean - 10
    assert test.evidence(with_one_miss - 2, 1) is Evidence.NEITHER
    assert test.evidence(with_one_miss - 1, 1) is Evidence.ABOVE


@pytest.mark.parametrize("prior", [NEARLY_ALWAYS, MOSTLY])
def test_looking_after_every_trial_errs_no_more_often_than_alpha(prior: Any) -> None:
    """At the very rate under test, 1,000 sequences of 300 looks pass or fail in 5 % at most."""
    rate = 0.95 if prior is NEARLY_ALWAYS else 0.5
    test = SequentialTest(rate=rate, prior=prior, alpha=0.05)
    random = Random(1)
    known: dict[tuple[int, int], Evidence] = {}
    errors = {Evidence.ABOVE: 0, Evidence.BELOW: 0}
    for _ in range(1_000):
        hits, seen = 0, set()
        for trials in range(1, 301):
            hits += random.random() < rate
            at = hits, trials - hits
            if at not in known:
                known[at] = test.evidence(*at)
            seen.add(known[at])
        for side in errors:
            errors[side] += side in seen
    assert max(errors.values()) <= 55


@given(st.integers(0, 400), st.integers(0, 400))
def test_an_interval_contains_what_was_seen(hits: int, misses: int) -> None:
    """The ends are on both sides of the share of hits, within [0, 1]."""
    low, high = rate_interval(hits, misses, prior=NEARLY_ALWAYS, alpha=0.05)
    assert 0 <= low <= high <= 1
    if hits + misses:
        assert low <= hits / (hits + misses) + 1e-3
        assert high >= hits / (hits + misses) - 1e-3


def test_nothing_is_hopeful_at_a_rate_that_is_too_low() -> None:
    """No number of further pairs helps where too many mismatch."""
    test = SequentialTest(rate=0.99, prior=NEARLY_ALWAYS, alpha=0.05)
    assert test.more_trials(98, 2) is None


def autoregressive(random: Random, count: int, correlation: float) -> list[float]:
    """Make values of which each resembles the one before."""
    value, values = random.gauss(0, 1), []
    for _ in range(count):
        values.append(value)
        value = correlation * value + (1 - correlation**2) ** 0.5 * random.gauss(0, 1)
    return values


def test_blocks_are_longer_where_neighbours_are_alike() -> None:
    """Independent values are blocks of one; the more alike, the longer; the mean stays."""
    independent = autoregressive(Random(3), 400, 0)
    alike = autoregressive(Random(3), 400, 0.8)
    assert block_lengths(independent) == (1,)
    single, block, double = block_lengths(alike)
    assert (single, double) == (1, 2 * block)
    assert block > 10
    assert block_lengths([1.0] * 50) == (1,)
    assert block_means([1.0, 2.0, 3.0, 4.0, 9.0], 2) == [1.5, 3.5]


def times(random: Random, count: int, ratio: float, correlation: float = 0) -> Any:
    """Make times of pairs: noise of a standard deviation of 0.42 around a ratio."""
    noise = autoregressive(random, count, correlation)
    return [400.0] * count, [400 * ratio * exp(0.42 * value) for value in noise]


def slower(before: Any, after: Any, **gates: Any) -> Verdict:
    """Return the verdict of the gate on the median."""
    result = time_gates(before, after, TaskGates(**gates))[0]
    assert result.gate == "slower"
    return result.verdict


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(1.0, Verdict.PASS), (1.2, Verdict.INCONCLUSIVE), (1.6, Verdict.FAIL)],
)
def test_the_median_is_judged_against_the_bound(ratio: float, verdict: Verdict) -> None:
    """Equal passes, twice the bound fails, and the bound itself is not decided."""
    assert slower(*times(Random(5), 300, ratio)) is verdict


def clustered(random: Random, count: int) -> list[float]:
    """Make values of which ten neighbours share half of their variance."""
    shared = [random.gauss(0, 1) for _ in range(count // 10 + 1)]
    return [0.5**0.5 * (shared[number // 10] + random.gauss(0, 1)) for number in range(count)]


def autocorrelated(random: Random, count: int) -> list[float]:
    """Make values of a correlation of 0.8."""
    return autoregressive(random, count, 0.8)


@pytest.mark.parametrize("noise", [autocorrelated, clustered])
def test_alike_neighbours_are_less_evidence(noise: Callable[[Random, int], list[float]]) -> None:
    """At the bound 60 sequences with looks pass in a few at most."""
    passed = 0
    for seed in range(60):
        after = [480 * exp(0.42 * value) for value in noise(Random(seed), 200)]
        before = [400.0] * len(after)
        looks = range(BURN_IN, 201, 10)
        passed += any(slower(before[:n], after[:n]) is Verdict.PASS for n in looks)
    assert passed <= 5


def test_tiny_times_are_not_slower_by_their_ratio() -> None:
    """2 ms after 1 ms is no slowdown; without the floor it is."""
    before, after = [1.0] * 100, [2.0] * 100
    assert slower(before, after) is Verdict.PASS
    assert slower(before, after, slower_floor_ms=0) is Verdict.FAIL


def test_a_slow_tail_fails_though_the_median_does_not() -> None:
    """One run in five takes ten times as long."""
    before = [400.0] * 300
    after = [4_000.0 if number % 5 == 0 else 400.0 for number in range(300)]
    verdicts = {gate.gate: gate.verdict for gate in time_gates(before, after, TaskGates())}
    assert verdicts["slower"] is Verdict.PASS
    assert verdicts["tail"] is Verdict.FAIL


def test_times_that_scatter_more_fail() -> None:
    """The same median, and three times the distance from it."""
    random = Random(7)
    before = [1_000 + random.gauss(0, 100) for _ in range(300)]
    after = [1_000 + random.gauss(0, 400) for _ in range(300)]
    gates = TaskGates(slower_floor_ms=0)
    assert time_gates(before, after, gates)[2].verdict is Verdict.FAIL
    assert time_gates(before, before[::-1], gates)[2].verdict is Verdict.PASS


def clean(pairs: int = 400, **counts: Any) -> TaskCount:
    """Count pairs that match, but for what is said."""
    return TaskCount(**{"pairs": pairs, "matched": pairs, **counts})


def verdict_of(task: TaskCount, **gates: Any) -> Verdict:
    """Evaluate the gates of one task, without those on time."""
    file = GateFile(defaults=TaskGates(times="waived", **gates))
    return evaluate({"t": task}, {}, file).verdict


@pytest.mark.parametrize(
    ("task", "verdict"),
    [
        (clean(), Verdict.PASS),
        (clean(100), Verdict.INCONCLUSIVE),
        (TaskCount(), Verdict.INCONCLUSIVE),
        (clean(mismatched=40, kinds={Kind.OUTPUT: 40}), Verdict.FAIL),
        (clean(4_000, mismatched=2, kinds={Kind.STATUS: 2}), Verdict.PASS),
        (clean(4_000, mismatched=1, kinds={Kind.MISSING: 1}), Verdict.FAIL),
        (clean(4_000, mismatched=1, kinds={Kind.OVERLAP: 1}), Verdict.FAIL),
        (clean(late=150), Verdict.INCONCLUSIVE),
        (clean(late=50), Verdict.PASS),
    ],
)
def test_the_worst_gate_decides(task: TaskCount, verdict: Verdict) -> None:
    """Rates have an allowance, what must never happen has none, nothing compared is no PASS."""
    assert verdict_of(task) is verdict


def test_a_task_that_was_never_seen_is_inconclusive() -> None:
    """The file names it, so its absence is not a PASS of the others."""
    waived = TaskGates(times="waived")
    file = GateFile(defaults=waived, tasks={"monthly": waived})
    report = evaluate({"t": clean()}, {}, file)
    assert [entry.verdict for entry in report.tasks] == [Verdict.INCONCLUSIVE, Verdict.PASS]
    assert report.verdict is Verdict.INCONCLUSIVE
    assert worst([]) is Verdict.INCONCLUSIVE


def test_times_of_unlike_runs_are_not_compared_unasked() -> None:
    """A shadow replays, so the gate on time refuses, and names the settings that help."""
    report = evaluate({"t": clean()}, {"t": ([1.0] * 400, [1.0] * 400)}, GateFile())
    (gate,) = [gate for gate in report.tasks[0].gates if gate.gate == "slower"]
    assert gate.verdict is Verdict.INCONCLUSIVE
    assert 'times = "primary"' in gate.reason
    primary = GateFile(defaults=TaskGates(times="primary"))
    report = evaluate({"t": clean()}, {"t": ([1.0] * 400, [1.0] * 400)}, primary)
    assert report.verdict is Verdict.PASS


def test_a_file_is_read_and_its_digest_is_of_what_it_says(tmp_path: Any) -> None:
    """A task has the file's defaults for what it leaves out; comments change no digest."""
    path = tmp_path / "gates.toml"
    path.write_text('[defaults]\nmatch_rate = 0.95\n[tasks."pay"]\nslower = 0.1\n')
    file = read_gates(path)
    assert file.gates("pay") == TaskGates(match_rate=0.95, slower=0.1)
    assert file.gates("other") == TaskGates(match_rate=0.95)
    digest = file.digest
    path.write_text(f"# why\n{path.read_text()}")
    assert read_gates(path).digest == digest
    path.write_text(path.read_text().replace("0.95", "0.9"))
    assert read_gates(path).digest != digest
    assert log(1 + file.gates("pay").slower) == pytest.approx(0.0953, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[defaults]\nmatch_rate = 1.0", "defaults.match_rate"),
        ("[defaults]\nmatchrate = 0.9", "defaults.matchrate"),
        ("[tasks.pay]\nalpha = 0.5", "tasks.pay.alpha"),
        ("tasks = 3", "tasks"),
        ("defaults = 3", "defaults"),
        ("[tasks]\npay = 3", "tasks.pay"),
        ("= 3", "not TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_its_place(tmp_path: Any, text: str, place: str) -> None:
    """Unknown names, values out of range, other shapes, no TOML."""
    path = tmp_path / "gates.toml"
    path.write_text(text)
    with pytest.raises(InvalidSettings, match=place):
        read_gates(path)
    with pytest.raises(InvalidSettings, match="cannot read"):
        read_gates(tmp_path / "absent.toml")


async def test_gates_decide_the_verdict_of_a_check(shelf: Any, tmp_path: Any) -> None:
    """Exit codes, the table, the JSON and the JUnit file."""
    for number in range(70):
        shelf.pair(f"r{number:03}")
    gates, xml = tmp_path / "gates.toml", tmp_path / "r.xml"
    gates.write_text('[defaults]\nmatch_rate = 0.95\noutput_rate = 0.95\ntimes = "waived"\n')
    common = ["check", "--store", str(shelf.root), "--gates", str(gates)]
    ran = await _in_thread([*common, "--json", "--junit", str(xml)])
    report = json.loads(ran.stdout)
    assert (ran.exit_code, report["verdict"]) == (0, "PASS")
    assert report["gates"]["tasks"][0]["gates"][2]["pairs"] == 70
    assert len(ET.fromstring(xml.read_text()).findall("testcase")) == 7
    gates.write_text('[defaults]\ntimes = "waived"\n')
    ran = await _in_thread(common)
    assert ran.exit_code == 3
    assert "about 288 more like these would show" in ran.stdout


async def _in_thread(arguments: list[str]) -> Any:
    """Leave the event loop: the command runs one of its own."""
    import asyncio

    return await asyncio.to_thread(CliRunner().invoke, app, arguments)
