"""`turnout triggerdev …`: the worker's source, its definition file, and its deployment."""

from pathlib import Path
from typing import Annotated, Any

import typer

from turnout.ports.commands import Desk
from turnout_triggerdev.definition import FILE, stale, write_definition
from turnout_triggerdev.project import CONFIG, PROJECT_REF, copied, name_project
from turnout_triggerdev.settings import WORKER, WORKER_FOLDER

AppName = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE:ATTRIBUTE", help="The app; else TURNOUT_APP."),
]
Service = Annotated[
    str | None,
    typer.Option(help="Where the worker reaches the service; else TURNOUT_SERVICE_URL."),
]
Folder = Annotated[
    Path | None,
    typer.Option(help=f"The worker's folder; else {WORKER}, else {WORKER_FOLDER}."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]


def commands(desk: Desk) -> typer.Typer:
    """Make the commands; the entry point `turnout.commands` names this function."""
    app = typer.Typer(no_args_is_help=True, help="The worker that runs tasks on Trigger.dev.")
    _add_init(app, desk)
    _add_build(app, desk)
    return app


def _add_init(app: typer.Typer, desk: Desk) -> None:
    @app.command()
    def init(
        folder: Annotated[Path, typer.Argument(help="Where to put it.")] = Path(WORKER_FOLDER),
        app: AppName = None,
        service: Service = None,
        *,
        force: Annotated[
            bool, typer.Option("--force", help="Write over files that you have changed.")
        ] = False,
        json: Json = False,
    ) -> None:
        """Copy the TypeScript worker into this repository; from then on it is yours."""
        loaded, url = desk.app(app), desk.service_url(service)
        try:
            written, kept = copied(folder, force=force)
            written += _named(desk, folder)
            built = write_definition(folder, loaded, url)
        except OSError as error:
            desk.fail(f"{error.filename}: {error.strerror}")
        value = {
            "folder": str(folder),
            "written": [str(each) for each in written],
            "kept": [str(each) for each in kept if each.name != FILE],
            "definition": loaded.definition,
            "next": f"cd {folder} && npm ci && npx trigger dev",
        }
        desk.show(value, as_json=json, lines=_told_init(value, built))


def _named(desk: Desk, folder: Path) -> list[Path]:
    ref = desk.settings().get("TRIGGER_PROJECT_REF", "")
    if ref and not PROJECT_REF.match(ref):
        desk.fail("TRIGGER_PROJECT_REF does not look like proj_…")
    return [Path(CONFIG)] if ref and name_project(folder, ref) else []


def _told_init(value: dict[str, Any], built: Path) -> list[str]:
    lines = [f"{len(value['written'])} files written to {value['folder']}"]
    lines += [f"kept, because you changed it: {each}" for each in value["kept"]]
    lines += [f"{built}: definition {value['definition'][:12]}"]
    lines += ["the worker needs TURNOUT_SIGNING_KEYS in its environment, the service's own"]
    return [*lines, f"next: {value['next']}"]


def _add_build(app: typer.Typer, desk: Desk) -> None:
    @app.command()
    def build(
        folder: Folder = None,
        app: AppName = None,
        service: Service = None,
        *,
        check: Annotated[
            bool, typer.Option("--check", help="Write nothing; exit 1 when it is stale.")
        ] = False,
        json: Json = False,
    ) -> None:
        """Write the definition file: which tasks the worker registers, and for which service."""
        at, loaded = worker_folder(desk, folder), desk.app(app)
        if not (at / CONFIG).exists():
            desk.fail(f"{at} holds no worker; turnout triggerdev init {at} puts one there")
        found = stale(at, loaded)
        fresh = found is None and (at / FILE).exists()
        if check:
            told = found or ("current" if fresh else f"{at / FILE} was never built")
            desk.show({"current": fresh, "text": told}, as_json=json, lines=[told])
            raise typer.Exit(0 if fresh else 1)
        path = write_definition(at, loaded, desk.service_url(service))
        value = {"file": str(path), "definition": loaded.definition, "changed": not fresh}
        state = "was current" if fresh else "written"
        lines = [f"{path}: definition {loaded.definition[:12]}, {state}"]
        desk.show(value, as_json=json, lines=lines)


def worker_folder(desk: Desk, given: Path | None) -> Path:
    """Find the worker's folder: the one given, the setting's, or the usual one."""
    return given or Path(desk.settings().get(WORKER) or WORKER_FOLDER)
