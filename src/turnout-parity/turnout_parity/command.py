"""`turnout parity`: compare what two providers did with the same runs."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnout.cli.exits import fail
from turnout.errors import InvalidSettings, TurnoutError
from turnout.ports.commands import Desk

if TYPE_CHECKING:
    from turnout_parity.report import ParityReport

PIPE_WIDTH = 240
"""Width of a table that is printed to a file or a pipe, in characters."""

app = typer.Typer(no_args_is_help=True, help="Compare both sides of a dual run.")


@app.callback()
def _root() -> None:
    pass


def commands(_desk: Desk) -> typer.Typer:
    """Return the commands; the entry point `turnout.commands` names this function."""
    return app


@app.command()
def check(
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="A folder, or s3://bucket/prefix; else TURNOUT_ARTIFACTS."
        ),
    ] = None,
    documents: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB",
            help="Compare your own JSON: 'runs/{run}/**/*.json'; {task} may be captured too.",
        ),
    ] = None,
    twin: Annotated[
        str, typer.Option(metavar="NAME", help="How a shadow is named, with --documents.")
    ] = "{run}-dryrun",
    ignore: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Declared ignores: path, reason, owner, expires."),
    ] = None,
    gates: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What each task must show, as TOML; see the page."),
    ] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(metavar="REGEX", help="Hide what matches in all reports."),
    ] = None,
    verify_all: Annotated[
        bool, typer.Option("--verify-all", help="Read every document, whatever its digest says.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="F", help="Write one page of HTML.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="F", help="Write JUnit XML.")] = None,
) -> None:
    """Compare every pair of runs in a store. Exit 0 PASS, 1 FAIL, 2 wrong use, 3 INCONCLUSIVE."""
    try:
        report = _check(
            *_location(store),
            documents=documents,
            twin=twin,
            ignore=ignore or [],
            gates=gates,
            redact=redact or [],
            verify_all=verify_all,
        )
        _write(report, html=html, junit=junit)
    except (TurnoutError, OSError) as error:
        message = str(error)
        fail(message if store is None else message.replace("TURNOUT_ARTIFACTS:", "--store:", 1))
    _print(report, as_json=as_json)
    raise typer.Exit(report.verdict.exit_code)


def _location(store: str | None) -> tuple[str, Mapping[str, str]]:
    """Return the store's address, and the settings to open it with."""
    if store is None:
        from turnout.bootstrap.settings import read_settings

        settings = read_settings(os.environ)
        if settings.artifacts is None:
            raise InvalidSettings("no artifacts are written here (TURNOUT_ARTIFACTS); give --store")
        return _existing(settings.artifacts), settings.raw
    return _existing(store), os.environ


def _check(
    store: str,
    environment: Mapping[str, str],
    *,
    documents: str | None,
    twin: str,
    ignore: list[Path],
    gates: Path | None,
    redact: list[str],
    verify_all: bool,
) -> "ParityReport":
    from turnout.stores.artifacts import open_store
    from turnout_parity.check import check as check_parity
    from turnout_parity.gates.gate_file import read_gates
    from turnout_parity.ignores import read_ignores
    from turnout_parity.redaction import redaction
    from turnout_parity.rules import Rules
    from turnout_parity.user_documents import documents_at

    ignores = [entry for path in ignore for entry in read_ignores(path)]
    pattern = documents_at(documents, twin=twin) if documents is not None else None
    hidden = redaction(redact)
    gate_file = read_gates(gates) if gates is not None else None

    async def run() -> "ParityReport":
        opened = open_store(store, environment)
        try:
            with _progress() as show:
                return await check_parity(
                    opened,
                    ignores=ignores,
                    gates=gate_file,
                    documents=pattern,
                    redaction=hidden,
                    rules=Rules(verify_one_in=1) if verify_all else None,
                    progress=show,
                    name=hidden.text(store),
                )
        finally:
            await opened.aclose()

    return asyncio.run(run())


def _existing(store: str) -> str:
    """Refuse a folder that does not exist."""
    if "://" not in store and not Path(store).expanduser().is_dir():
        raise InvalidSettings(f"the artifact store {store!r}: there is no such folder")
    return store


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Show the number of compared pairs on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("comparing…") as status:
        yield lambda count: status.update(f"comparing… {count:,} pairs")


def _write(report: "ParityReport", *, html: Path | None, junit: Path | None) -> None:
    if html is not None:
        from turnout_parity.render import render_html

        html.write_text(render_html(report), encoding="utf-8")
    if junit is not None:
        from turnout_parity.render import render_junit

        junit.write_text(render_junit(report), encoding="utf-8")


def _print(report: "ParityReport", *, as_json: bool) -> None:
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
        return
    from rich.console import Console

    from turnout_parity.render import render_terminal

    console = Console()
    if not console.is_terminal:  # a file or a pipe: no colours, one line a row
        console = Console(color_system=None, width=PIPE_WIDTH)
    console.print(render_terminal(report))
