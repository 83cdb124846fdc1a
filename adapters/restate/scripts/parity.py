"""Runs events on another provider's offline server and on Restate's own, and compares all pairs.

    python adapters/restate/scripts/parity.py --from PROVIDER [--pairs 500] [--gate 0.95]

Two dual runs of as many events, each with the other provider as the primary. In the first, the code
is the same on both sides: no pair may differ, and every task must pass its gates. In the second,
the candidate really differs in every 25th run (`parity_service.py`): the check, without gates, must
fail, and name those runs and no others.

Prints one JSON object; exit code 1 when either is not so. --slow: how many milliseconds a shadow
may be slower than its primary, more on a busy machine. --out keeps what both dual runs left.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from parity_service import DIFFERS, kind_of, may_differ, service
from turnout_dev.devserver import Process
from turnout_dev.installed import devserver
from turnout_dev.supervisor import Supervisor, free_port
from turnout_parity.check import check
from turnout_parity.gates.gate_file import GateFile, TaskGates
from turnout_parity.report import ParityReport, Verdict
from turnout_parity.rules import Bounds, Rules
from turnout_testing.backends import dev_setup, settings_of_service

from turnout import Event, Turnout, open_turnout, read_settings
from turnout.model.ids import shadow_id
from turnout.model.routing import DUAL
from turnout.model.runs import Run, RunFilter
from turnout.stores.artifacts import open_store

CANDIDATE: Final = "restate"
LAG: Final = 30
"""Seconds from a primary's emit to its shadow's start."""
BATCH: Final = 5
MOST_OPEN: Final = 10
"""Runs of both sides at the same time: so few that none waits for the machine."""
PATIENCE: Final = 600.0
"""Seconds within which all shadows must have ended, once nothing more is sent."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A dual run: its report, and which of the runs may differ."""

    report: ParityReport
    numbers: Mapping[str, int]
    """The number of each run that an event of ours has started."""

    @property
    def mismatched(self) -> set[str]:
        """The runs that the check names."""
        return {difference.run_id for difference in self.report.differences}

    @property
    def differing(self) -> set[str]:
        """The runs in which a candidate that differs takes another way."""
        return {run_id for run_id, number in self.numbers.items() if may_differ(number)}


async def dual_run(options: argparse.Namespace, folder: Path, gates: GateFile | None) -> Trial:
    """Run so many events on both providers, and compare; without gates the candidate differs."""
    async with staged(options.old, folder, differs=gates is None) as live:
        numbers = await _emitted(live, folder / "artifacts", options.pairs)
        await _shadowed(live, folder / "artifacts")
    store = open_store(str(folder / "artifacts"))
    try:
        rules = Rules(bounds=Bounds(slow_ms=options.slow), patience=None)
        report = await check(store, name=options.old, rules=rules, gates=gates)
    finally:
        await store.aclose()
    return Trial(report=report, numbers=numbers)


@asynccontextmanager
async def staged(old: str, folder: Path, *, differs: bool) -> AsyncIterator[Turnout]:
    """Start both servers and the service of the dual run; what emits on its run store."""
    (folder / "artifacts").mkdir(parents=True)
    port = free_port()
    settings = {
        **settings_of_service(DUAL, folder, port, {}),
        "ORCHESTRATOR_PRIMARY": old,
        "ORCHESTRATOR_SHADOW": CANDIDATE,
        "TURNOUT_DUAL_LAG": f"{LAG}s",
    }
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(Supervisor(folder / "logs"))
        for name in (old, CANDIDATE):
            server = devserver(name)
            if server is None:
                raise SystemExit(f"{name} has no offline server")
            setup = dev_setup(server, service, folder, settings, {})
            for process in server.processes(setup):
                await processes.start(process)
            settings |= server.environ(setup)
        await processes.start(_service(settings, port, differs=differs))
        live = open_turnout(service, settings=read_settings(settings), serve=False)
        yield await stack.enter_async_context(live)


def _service(settings: Mapping[str, str], port: int, *, differs: bool) -> Process:
    return Process(
        name="service",
        argv=(
            *(sys.executable, "-c", "from turnout.cli.main import run; run()", "serve"),
            *("parity_service:service", "--port", str(port)),
        ),
        environ={
            **settings,
            DIFFERS: "1" if differs else "",
            "PYTHONPATH": str(Path(__file__).parent),
        },
        ready_url=f"http://127.0.0.1:{port}/turnout/health",
    )


async def _emitted(live: Turnout, artifacts: Path, pairs: int) -> Mapping[str, int]:
    """Emit the events, and the answers that some runs wait for; the number of each run."""
    numbers: dict[str, int] = {}
    for start in range(0, pairs, BATCH):
        batch = range(start, min(start + BATCH, pairs))
        events = [
            Event(name=f"parity/{kind_of(number)}", payload={"number": number}) for number in batch
        ]
        emissions = await live.orchestrator.emit(*events)
        numbers |= {
            emission.runs[0].run_id: number
            for emission, number in zip(emissions, batch, strict=True)
        }
        answers = (Event(name="parity/answer", payload={"number": number}) for number in batch)
        await live.orchestrator.emit(*answers)
        await _few_open(live, artifacts)
    return numbers


async def _few_open(live: Turnout, artifacts: Path) -> None:
    """Wait until a further batch has room."""
    until = time.monotonic() + PATIENCE
    while len(open_runs := await _open(live, artifacts)) > MOST_OPEN - BATCH:
        if time.monotonic() > until:
            raise SystemExit(f"{len(open_runs)} runs do not end, like {open_runs[0].run_id}")
        await asyncio.sleep(0.1)


async def _open(live: Turnout, artifacts: Path) -> Sequence[Run]:
    """Read the runs that go on, or whose shadows are due and go on."""
    due = live.clock.now() - LAG * 1_000
    return [
        run
        for run in await _runs(live)
        if not _has_ended(artifacts, run.run_id)
        or (run.emitted_at < due and not _has_ended(artifacts, shadow_id(run.run_id)))
    ]


async def _shadowed(live: Turnout, artifacts: Path) -> None:
    """Wait until every run, children included, has ended on both sides."""
    until = time.monotonic() + PATIENCE
    while missing := [
        run for run in await _runs(live) if not _has_ended(artifacts, shadow_id(run.run_id))
    ]:
        if time.monotonic() > until:
            raise SystemExit(f"no shadow of {len(missing)} runs, like {missing[0].run_id}")
        await asyncio.sleep(1)


async def _runs(live: Turnout) -> Sequence[Run]:
    """Read all primaries."""
    return await live.store.runs.find(RunFilter(shadowed=True, limit=100_000))


def _has_ended(artifacts: Path, run_id: str) -> bool:
    """Whether a run has left all that it leaves."""
    return (artifacts / "runs" / run_id / "manifest.json").exists()


async def compare(options: argparse.Namespace, out: Path) -> tuple[bool, Mapping[str, Any]]:
    """Make both dual runs; whether all is as it must be, and what was found."""
    rate = options.gate
    gates = TaskGates(match_rate=rate, output_rate=rate, times="waived")  # a shadow replays
    same = await dual_run(options, out / "same", GateFile(defaults=gates))
    differing = await dual_run(options, out / "differing", None)
    detected = differing.mismatched & differing.differing
    false_alarms = differing.mismatched - differing.differing
    is_right = (
        same.report.verdict is Verdict.PASS
        and same.report.matched == same.report.pairs >= options.pairs
        and differing.report.verdict is Verdict.FAIL
        and detected == differing.differing
        and not false_alarms
    )
    return is_right, {
        "from": options.old,
        "slow_ms": options.slow,
        "to": CANDIDATE,
        "same": _figures(same.report),
        "differing": {
            **_figures(differing.report),
            "runs_that_differ": len(differing.differing),
            "of_these_found": len(detected),
            "others_named": len(false_alarms),
        },
        "right": is_right,
    }


def _figures(report: ParityReport) -> Mapping[str, Any]:
    gates = report.gates.tasks if report.gates else ()
    return {
        "verdict": report.verdict,
        "reasons": report.reasons[:3],
        "pairs": report.pairs,
        "matched": report.matched,
        "mismatched": report.mismatched,
        "set_aside": report.late + report.not_comparable + report.not_due,
        "kinds": sorted({difference.kind for difference in report.differences}),
        "tasks": {gate.task: gate.verdict for gate in gates},
    }


def main() -> None:
    """Parse, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--from", dest="old", required=True)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--gate", type=float, default=0.95, help="the match rate to be shown")
    parser.add_argument("--slow", type=int, default=Bounds().slow_ms)
    parser.add_argument("--out", type=Path, help="where both dual runs are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        is_right, figures = asyncio.run(compare(options, options.out or Path(folder)))
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
