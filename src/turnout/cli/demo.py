"""`turnout demo`: the whole journey between two providers, offline, from one command."""

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnout.cli.shared import CLEAN, FOUND, Json, fail, print_json, run, told
from turnout.errors import TurnoutError

if TYPE_CHECKING:
    from turnout.demo.journey import Outcome
    from turnout.demo.setting import Stage

app = typer.Typer()

SLOW_WORKER = (
    "Vendors' own workers ran the tasks. On one machine they start a process for a run, so a"
    " shadow's overhead counts as a difference from 60 s on."
)
LAG = "6s"
"""How long after its primary a shadow starts: every primary of the demo has ended by then."""


@app.command()
def demo(
    runs: Annotated[int, typer.Option(min=1, max=1_000, help="Runs of the dual run.")] = 20,
    seed: Annotated[int, typer.Option(help="Decides documents and faults.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Where everything is written to.")] = None,
    plant: Annotated[
        str | None, typer.Option(metavar="KIND", help="Plant this fault in one shadow.")
    ] = None,
    real_worker: Annotated[
        bool,
        typer.Option("--real-worker", help="Run vendors' own workers; needs Node.js."),
    ] = False,
    json: Json = False,
) -> None:
    """Move an example service from one provider to another and back, with two offline servers.

    Exit 0 when every pair matches and the ledger balances, 1 when not.
    """
    try:
        from turnout.demo.plant import KINDS
        from turnout.demo.setting import stage
    except ModuleNotFoundError as error:
        fail(
            f"the demo needs {error.name}: pip install 'turnout[demo]', or '.[demo]' in a checkout"
        )
    if plant is not None and plant not in KINDS:
        fail(f"--plant {plant!r}: plant one of {', '.join(KINDS)}")
    folder = out or Path(tempfile.mkdtemp(prefix="turnout-demo-"))
    if (folder / "run-store.db").exists():
        fail(f"--out {folder}: there is a journey in it already; name an empty folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"--out {told(error)}")
    began = time.monotonic()
    try:
        set_up = stage(
            folder,
            seed=seed,
            lag=_lag(runs, real_worker=real_worker),
            real_worker=real_worker,
        )
    except TurnoutError as error:
        fail(str(error))
    outcome = run(_go(set_up, runs, plant))
    seconds = time.monotonic() - began
    _finish(outcome, folder.resolve(), seconds, as_json=json, real_worker=real_worker)


def _lag(runs: int, *, real_worker: bool) -> str:
    """Give primaries the time that so many of them take on a small machine.

    A real worker starts a process for each run.
    """
    each = 1.0 if real_worker else 0.15
    return f"{6 + runs * each:.0f}s"


async def _go(stage: "Stage", runs: int, plant: str | None) -> "Outcome":
    from rich.console import Console

    from turnout.demo.journey import Journey

    console = Console(stderr=True)
    for server in (stage.old, stage.new):
        console.print(f"[bold]{server.name}[/]: an offline server, a {server.label}")
    with console.status("…") as status:

        def say(line: str) -> None:
            console.print(f"· {line}", markup=False)
            status.update(line)

        return await Journey(stage=stage, runs=runs, say=say, planted=plant).go()


def _finish(
    outcome: "Outcome", out: Path, seconds: float, *, as_json: bool, real_worker: bool
) -> None:
    from turnout.parity.render import render_html, render_json

    page, data = out / "report.html", out / "report.json"
    doubles = "A demonstration: both servers were doubles of the providers', not production."
    notes = [doubles, *([SLOW_WORKER] if real_worker else [])]
    report = outcome.report.model_copy(update={"notes": notes})
    page.write_text(render_html(report), encoding="utf-8")
    data.write_text(render_json(report), encoding="utf-8")
    if as_json:
        print_json(
            {
                **outcome.report.model_dump(mode="json"),
                "reasons": [*outcome.ledger.reasons, *outcome.report.reasons],
                "ledger": outcome.ledger.as_json(),
                "planted": outcome.planted,
                "label": "double, not production",
                "seconds": round(seconds, 1),
                "phases": outcome.phases,
                "out": str(out),
                "report_html": str(page),
                "report_json": str(data),
            }
        )
    else:
        _print(outcome, out, page, data, seconds)
    why = unclean(outcome)
    for each in why:
        typer.echo(f"exit {FOUND}: {each}", err=True)
    raise typer.Exit(FOUND if why else CLEAN)


def unclean(outcome: "Outcome") -> list[str]:
    """Say why the journey did not go well; nothing when every pair matches and all balances."""
    verdict = outcome.report.verdict
    pairs = [f"parity is {verdict}: {'; '.join(outcome.report.reasons)}"]
    return [*(pairs if verdict.exit_code != CLEAN else ()), *outcome.ledger.reasons]


def _print(outcome: "Outcome", out: Path, page: Path, data: Path, seconds: float) -> None:
    from rich.console import Console

    from turnout.cli.shared import table
    from turnout.parity.render import render_terminal

    console = Console()
    console.print(render_terminal(outcome.report))
    console.print(table("ledger", ("", ""), _lines(outcome)))
    console.print(f"The servers were doubles, not production; {seconds:.0f} s.", markup=False)
    for name, path in (("report", page), ("the same as data", data), ("everything", out)):
        console.print(f"{name}: {path}", markup=False, soft_wrap=True)
    console.print(
        "next, on your own code: turnout dev, then turnout doctor --app module:app", markup=False
    )


def _lines(outcome: "Outcome") -> list[tuple[str, Any]]:
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
