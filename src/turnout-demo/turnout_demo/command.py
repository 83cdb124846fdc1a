"""`turnout demo`: the whole journey between two providers, offline, from one command."""

import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from turnout.errors import TurnoutError
from turnout.ports.commands import Desk

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnout_demo.journey import JourneyOutcome
    from turnout_demo.stage import DemoStage

CLEAN, FAILED, INTERRUPTED = 0, 1, 130
"""Exit codes: every pair matches and the ledger balances; not so; ended by ^C."""
SLOW_WORKER = (
    "Vendors' own workers ran the tasks. On one machine they start a process for a run, so a"
    " shadow's overhead counts as a difference from 60 s on."
)


def commands(desk: Desk) -> typer.Typer:
    """Make the command; the entry point `turnout.commands` names this function."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def demo(
        runs: Annotated[int, typer.Option(min=1, max=1_000, help="Runs of the dual run.")] = 20,
        seed: Annotated[int, typer.Option(help="Decides documents and faults.")] = 1,
        out: Annotated[Path | None, typer.Option(help="Where everything is written to.")] = None,
        plant: Annotated[
            str | None, typer.Option(metavar="KIND", help="Plant this fault in one shadow.")
        ] = None,
        old: Annotated[
            str | None, typer.Option("--from", metavar="PROVIDER", help="Where it runs first.")
        ] = None,
        new: Annotated[
            str | None, typer.Option("--to", metavar="PROVIDER", help="Where it moves to.")
        ] = None,
        real_worker: Annotated[
            bool,
            typer.Option("--real-worker", help="Run vendors' own workers; needs Node.js."),
        ] = False,
        json: Annotated[
            bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")
        ] = False,
    ) -> None:
        """Move an example service from one provider to another and back, with offline servers.

        Exit 0 when every pair matches and the ledger balances, 1 when not.
        """
        from turnout_demo.plant import KINDS
        from turnout_demo.stage import stage

        if plant is not None and plant not in KINDS:
            desk.fail(f"--plant {plant!r}: plant one of {', '.join(KINDS)}")
        folder = _empty_folder(desk, out)
        lag = _lag(runs, real_worker=real_worker)
        set_up = partial(
            stage, folder, seed=seed, lag=lag, old=old, new=new, real_worker=real_worker
        )
        began = time.monotonic()
        outcome = _travel(desk, set_up, runs, plant)
        seconds = time.monotonic() - began
        finish(desk, outcome, folder.resolve(), seconds, as_json=json, real_worker=real_worker)

    return app


def _empty_folder(desk: Desk, out: Path | None) -> Path:
    """Make the folder that everything is written to."""
    folder = out or Path(tempfile.mkdtemp(prefix="turnout-demo-"))
    if (folder / "run-store.db").exists():
        desk.fail(f"--out {folder}: there is a journey in it already; name an empty folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        desk.fail(f"--out {_refusal(error)}")
    return folder


def _travel(
    desk: Desk, set_up: "Callable[[], DemoStage]", runs: int, plant: str | None
) -> "JourneyOutcome":
    """Make the journey; what stops it is one line on stderr."""
    try:
        return asyncio.run(_go(set_up(), runs, plant))
    except TurnoutError as error:
        desk.fail(str(error))
    except OSError as error:
        desk.fail(_refusal(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _refusal(error: OSError) -> str:
    """Say in one line what the system refused, and for which file."""
    file = f"{error.filename}: " if error.filename else ""
    return f"{file}{error.strerror or error}"


def _lag(runs: int, *, real_worker: bool) -> str:
    """Give primaries the time that so many of them take on a small machine.

    A real worker starts a process for each run.
    """
    seconds = 1.0 if real_worker else 0.15
    return f"{6 + runs * seconds:.0f}s"


async def _go(stage: "DemoStage", runs: int, plant: str | None) -> "JourneyOutcome":
    from turnout_demo.journey import Journey

    console = Console(stderr=True)
    for server in (stage.old, stage.new):
        console.print(f"[bold]{server.name}[/]: {server.label}")
    with console.status("…") as status:

        def say(line: str) -> None:
            console.print(f"· {line}", markup=False)
            status.update(line)

        return await Journey(stage=stage, runs=runs, say=say, planted=plant).go()


def finish(
    desk: Desk,
    outcome: "JourneyOutcome",
    out: Path,
    seconds: float,
    *,
    as_json: bool,
    real_worker: bool,
) -> None:
    """Write the report, print the outcome, and end with its exit code."""
    from turnout_parity.render import render_html, render_json

    page, data = out / "report.html", out / "report.json"
    labels = "; ".join(f"{name}: {label}" for name, label in outcome.servers.items())
    notes = [f"A demonstration. {labels}.", *([SLOW_WORKER] if real_worker else [])]
    report = outcome.report.model_copy(update={"notes": notes})
    page.write_text(render_html(report), encoding="utf-8")
    data.write_text(render_json(report), encoding="utf-8")
    if as_json:
        value = {
            **outcome.report.model_dump(mode="json"),
            "reasons": [*outcome.ledger.reasons, *outcome.report.reasons],
            "ledger": outcome.ledger.as_json(),
            "planted": outcome.planted,
            "servers": outcome.servers,
            "label": "; ".join(dict.fromkeys(outcome.servers.values())),
            "seconds": round(seconds, 1),
            "phases": outcome.phases,
            "out": str(out),
            "report_html": str(page),
            "report_json": str(data),
        }
        desk.show(value, as_json=True, lines=())
    else:
        _print(outcome, out, page, data, seconds)
    reasons = unclean(outcome)
    for reason in reasons:
        desk.tell(f"exit {FAILED}: {reason}")
    raise typer.Exit(FAILED if reasons else CLEAN)


def unclean(outcome: "JourneyOutcome") -> list[str]:
    """Say why the journey did not go well; nothing when every pair matches and all balances."""
    verdict = outcome.report.verdict
    pairs = [f"parity is {verdict}: {'; '.join(outcome.report.reasons)}"]
    return [*(pairs if verdict.exit_code != CLEAN else ()), *outcome.ledger.reasons]


def _print(outcome: "JourneyOutcome", out: Path, page: Path, data: Path, seconds: float) -> None:
    from turnout_parity.render import render_terminal

    console = Console()
    console.print(render_terminal(outcome.report))
    ledger = Table(title="ledger", title_justify="left", show_header=False)
    for label, value in _lines(outcome):
        ledger.add_row(label, str(value))
    console.print(ledger)
    for name, label in outcome.servers.items():
        console.print(f"{name}: {label}", markup=False)
    console.print(f"took {seconds:.0f} s", markup=False)
    for name, path in (("report", page), ("the same as data", data), ("everything", out)):
        console.print(f"{name}: {path}", markup=False, soft_wrap=True)
    console.print(
        "next, on your own code: turnout dev, then turnout doctor --app module:app", markup=False
    )


def _lines(outcome: "JourneyOutcome") -> list[tuple[str, Any]]:
    ledger = outcome.ledger
    slots = ledger.slots
    providers = ", ".join(f"{name} {count}" for name, count in ledger.by_provider.items())
    return [
        ("emitted", ledger.emitted),
        ("completed", ledger.completed),
        ("lost", ledger.lost),
        ("doubled", ledger.doubled),
        ("runs by provider", providers),
        (
            "schedule slots",
            f"{slots.due} due, {slots.fired} fired, {slots.missed} missed, {slots.doubled} doubled",
        ),
    ]
