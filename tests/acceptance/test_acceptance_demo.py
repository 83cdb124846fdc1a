"""The journey as a new user takes it: one command, separate processes, real HTTP."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from turnout_demo.plant import PLANTS, plant

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

TURNOUT = Path(sys.executable).parent / "turnout"
RUNS = 20
WHAT_A_KILL_MAY_DO = {"missing", "slow", "delay"}
"""A side that was down answers late, or not before the demo ends; it never answers otherwise."""


def demo(out: Path, *options: str) -> subprocess.Popen[str]:
    """Start the demo."""
    command = [str(TURNOUT), "demo", "--json", "--out", str(out), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    """Wait for its end; its exit code and its one object."""
    out, err = process.communicate(timeout=380)
    assert out.count("\n") == 1, f"more than one object on stdout: {out!r:.500}\n{err[-2000:]}"
    return process.returncode, json.loads(out)


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, dict[str, Any]]]:
    """One clean journey, and beside it one with noise."""
    folder = tmp_path_factory.mktemp("demo")
    yield finished(demo(folder / "clean", "--runs", str(RUNS)))
    shutil.rmtree(folder, ignore_errors=True)


def test_every_pair_matches(journey: tuple[int, dict[str, Any]]) -> None:
    """All pairs match: PASS and exit 0. On a busy machine primaries are late, and not compared."""
    code, said = journey
    assert (code, said["verdict"]) == (0, "PASS"), said["reasons"]
    assert said["pairs"] + said["late"] >= RUNS
    assert said["matched"] == said["pairs"] > 0
    assert (said["mismatched"], said["missing"], said["not_comparable"]) == (0, 0, 0)
    assert said["differences"] == []
    assert said["tasks"]["agent-run"]["pairs"] + said["late"] >= RUNS


def test_nothing_is_lost_or_doubled(journey: tuple[int, dict[str, Any]]) -> None:
    """The ledger balances over a flip, a kill in mid-step and a rollback."""
    ledger = journey[1]["ledger"]
    assert ledger["emitted"] == ledger["completed"]
    assert (ledger["lost"], ledger["doubled"]) == (0, 0)
    assert len(ledger["by_provider"]) == 2
    assert (ledger["slots"]["missed"], ledger["slots"]["doubled"]) == (0, 0)


def test_both_trees_are_on_disk(journey: tuple[int, dict[str, Any]]) -> None:
    """Every run of the dual run has the artifacts of both sides below `out`."""
    said = journey[1]
    folders = {each.name for each in (Path(said["out"]) / "artifacts" / "runs").iterdir()}
    shadows = {each for each in folders if each.endswith("-dryrun")}
    assert len(shadows) == said["pairs"] + said["late"]
    for shadow in shadows:
        for name in (shadow, shadow.removesuffix("-dryrun")):
            folder = Path(said["out"]) / "artifacts" / "runs" / name
            assert (folder / "manifest.json").exists()
            status = json.loads((folder / "status.json").read_text())
            assert status["not_comparable"] or list((folder / "steps").iterdir())
    assert Path(said["report_html"]).stat().st_size > 10_000
    assert json.loads(Path(said["report_json"]).read_text())["verdict"] == "PASS"


def test_no_process_is_left_behind(journey: tuple[int, dict[str, Any]]) -> None:
    """When the demo has ended, so have all that it started."""
    out = journey[1]["out"]
    left = [each.info for each in psutil.process_iter(["cmdline", "environ"]) if _of(each, out)]
    assert left == []


@pytest.mark.parametrize("kind", [*PLANTS, "missing"])
def test_a_planted_fault_is_found(
    kind: str, journey: tuple[int, dict[str, Any]], tmp_path: Path
) -> None:
    """A fault planted in one shadow is the verdict: FAIL, naming run, artifact and pointer."""
    copy = tmp_path / "artifacts"
    shutil.copytree(Path(journey[1]["out"]) / "artifacts", copy)
    run_id = plant(kind, copy)
    done = subprocess.run(
        [str(TURNOUT), "parity", "check", "--store", str(copy), "--json"],
        check=False,
        capture_output=True,
        text=True,
    )
    said = json.loads(done.stdout)
    assert (done.returncode, said["verdict"]) == (1, "FAIL")
    found = [each for each in said["differences"] if each["run_id"] == run_id]
    assert kind in {each["kind"] for each in found}, found
    assert said["mismatched"] <= 2


def test_noise_is_called_noise(tmp_path: Path) -> None:
    """A task that executes in its shadow and gives out a clock time fails, labelled as noise."""
    code, said = finished(demo(tmp_path / "noise", "--runs", "5", "--plant", "noise"))
    assert (code, said["verdict"]) == (1, "FAIL")
    labels = {each["label"] for each in said["differences"] if each["task"] == "stamp"}
    assert any("noise" in (label or "") for label in labels), said["differences"]


def test_killing_any_process_changes_nothing(tmp_path: Path) -> None:
    """Whatever process is killed, every run ends, none is doubled, and only times differ."""
    process = demo(tmp_path / "killed", "--runs", "10", "--seed", "7")
    drawn = random.Random(7)
    time.sleep(4)
    killed = []
    while process.poll() is None and len(killed) < 8:
        children = psutil.Process(process.pid).children()
        if children:
            child = drawn.choice(children)
            killed.append(" ".join(child.cmdline()[2:4]))
            os.kill(child.pid, signal.SIGKILL)
        time.sleep(drawn.uniform(1.5, 3.5))
    _, said = finished(process)
    ledger = said["ledger"]
    assert ledger["emitted"] == ledger["completed"], (killed, ledger)
    assert (ledger["lost"], ledger["doubled"]) == (0, 0), (killed, ledger)
    wrong = [each for each in said["differences"] if each["kind"] not in WHAT_A_KILL_MAY_DO]
    assert wrong == [], (killed, wrong)


def _of(process: psutil.Process, out: str) -> bool:
    command = " ".join(process.info["cmdline"] or ())
    environ = process.info["environ"] or {}
    return out in command or any(out in value for value in environ.values())
