"""`turnout triggerdev …`: the worker's source, its definition file, and its deployment."""

import asyncio
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnout.errors import InvalidSettings
from turnout.ports.commands import Desk
from turnout_triggerdev.definition import FILE, stale, write_definition
from turnout_triggerdev.project import CONFIG, PROJECT_REF, copied, name_project
from turnout_triggerdev.settings import WORKER, WORKER_FOLDER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from turnout_triggerdev.deploy import DeployStep

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
    _add_deploy(app, desk)
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
        ref = _project_ref(desk)
        try:
            copied_files, unchanged = copied(folder, force=force)
            if ref and name_project(folder, ref):
                copied_files = sorted({*copied_files, Path(CONFIG)})
            built = write_definition(folder, loaded, url)
        except OSError as error:
            desk.fail(f"{error.filename}: {error.strerror}")
        value = {
            "folder": str(folder),
            "written": [str(path) for path in copied_files],
            "kept": [str(path) for path in unchanged if path.name != FILE],
            "definition": loaded.definition,
            "next": f"cd {shlex.quote(str(folder))} && npm ci && npx trigger dev",
        }
        desk.show(value, as_json=json, lines=_init_lines(value, built))


def _project_ref(desk: Desk) -> str:
    ref = desk.settings().get("TRIGGER_PROJECT_REF", "")
    if ref and not PROJECT_REF.fullmatch(ref):
        desk.fail("TRIGGER_PROJECT_REF does not look like proj_…; nothing was written")
    return ref


def _init_lines(value: dict[str, Any], built: Path) -> list[str]:
    count = len(value["written"])
    lines = [f"{count} file{'' if count == 1 else 's'} written to {value['folder']}"]
    lines += [f"kept, because you changed it: {path}" for path in value["kept"]]
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
        difference = stale(at, loaded)
        fresh = difference is None and (at / FILE).exists()
        if check:
            state = difference or ("current" if fresh else f"{at / FILE} was never built")
            desk.show({"current": fresh, "text": state}, as_json=json, lines=[state])
            raise typer.Exit(0 if fresh else 1)
        url = desk.service_url(service)
        try:
            path = write_definition(at, loaded, url)
        except OSError as error:
            desk.fail(f"{error.filename}: {error.strerror}")
        value = {"file": str(path), "definition": loaded.definition, "changed": not fresh}
        state = "was current" if fresh else "written"
        lines = [f"{path}: definition {loaded.definition[:12]}, {state}"]
        desk.show(value, as_json=json, lines=lines)


def _add_deploy(app: typer.Typer, desk: Desk) -> None:
    @app.command()
    def deploy(
        env: Annotated[str, typer.Option("--env", help="prod, staging (or stg) or preview.")],
        folder: Folder = None,
        app: AppName = None,
        service: Service = None,
        *,
        promote: Annotated[
            bool, typer.Option(help="Make it the current version once it was looked through.")
        ] = True,
        loopback: Annotated[
            bool, typer.Option("--loopback", help="The service may be at localhost.")
        ] = False,
        json: Json = False,
    ) -> None:
        """Deploy the worker after its service: ask, deploy, set variables, look, promote.

        Exit 0 when every step was taken, 1 when one was not: nothing after it was done, and the
        variables were put back.
        """
        from turnout_triggerdev.deploy import deployed, in_folder, read_target

        at, settings = worker_folder(desk, folder), desk.settings()
        loaded, url = desk.app(app), desk.service_url(service)
        try:
            target = read_target(settings, env, at, loaded, url, promote=promote, loopback=loopback)
        except InvalidSettings as error:
            desk.fail(str(error))
        steps = asyncio.run(_show_steps(deployed(target, in_folder(at, settings)), desk))
        value = {"steps": [asdict(step) for step in steps]}
        desk.show(value, as_json=json, lines=())
        raise typer.Exit(0 if all(step.ok for step in steps) else 1)


async def _show_steps(steps: "AsyncIterator[DeployStep]", desk: Desk) -> "list[DeployStep]":
    visible_steps = []
    async for step in steps:
        visible_steps.append(step)
        desk.tell(f"{'✓' if step.ok else '✗'} {step.name}: {step.text}")
        if step.fix:
            desk.tell(f"  next: {step.fix}")
    return visible_steps


def worker_folder(desk: Desk, folder: Path | None) -> Path:
    """Find the worker's folder: of the option, else of the setting, else the default."""
    return folder or Path(desk.settings().get(WORKER) or WORKER_FOLDER)
