"""`turnout dev`: the offline servers of the installed providers, on loopback."""

import asyncio
import base64
import contextlib
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from turnout.cli.shared import AppName, fail, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turnout.local.processes import Supervisor
    from turnout.model.devservers import DevSetup
    from turnout.ports.devserver import DevServer

SERVICE = "http://127.0.0.1:8000"

app = typer.Typer()


class _WithPorts(TyperCommand):
    """Tells in --help the options that the installed providers add."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Name them with their defaults."""
        from turnout.demo.setting import devservers

        ports = ", ".join(
            f"--{name}-port N ({each.default_port})" for name, each in devservers().items()
        )
        self.help = f"{self.help}\n\nPorts, and what they are unless set: {ports or 'none'}."
        super().format_help(ctx, formatter)


@app.command(
    cls=_WithPorts,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def dev(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="Where their state is kept.")] = Path(".turnout/dev"),
    service: Annotated[
        str,
        typer.Option(
            metavar="URL",
            show_default=False,  # it is cut where the terminal is narrow
            help="Where your service listens; else on 127.0.0.1, at port 8000.",
        ),
    ] = SERVICE,
    reload: Annotated[bool, typer.Option(help="Start them again when the app's code changes.")] = (
        False
    ),
    env_file: Annotated[
        Path | None, typer.Option(help="Write the settings here, not to stdout; sh sources it.")
    ] = None,
    real_worker: Annotated[
        bool,
        typer.Option("--real-worker", help="Run vendors' own workers; needs Node.js."),
    ] = False,
    app: AppName = None,
) -> None:
    """Start every installed provider's offline server: doubles, not production.

    With an app, workers that a provider needs start too.
    """
    from turnout.demo.setting import devservers

    servers = devservers()
    if not servers:
        fail("no installed adapter brings an offline server; install one, like turnout-<provider>")
    ports = _ports(context.args, servers)
    _free(ports)
    serving = _serve(
        list(servers.values()),
        ports,
        data,
        service,
        app,
        env_file,
        reload=reload,
        real_worker=real_worker,
    )
    run(serving)


def _ports(extra: list[str], servers: "dict[str, DevServer]") -> dict[str, int]:
    """Read the --<provider>-port options."""
    ports = {name: each.default_port for name, each in servers.items()}
    words = [part for word in extra for part in word.split("=", 1)]
    if len(words) % 2:
        fail(f"{words[-1]}: not an option, or one without its value")
    for option, value in zip(words[::2], words[1::2], strict=True):
        name = option.removeprefix("--").removesuffix("-port")
        if option != f"--{name}-port" or name not in ports or not value.isdigit():
            known = ", ".join(f"--{each}-port N" for each in ports)
            fail(f"{option} {value}: not an option; ports are set by {known}")
        ports[name] = int(value)
    return ports


def _free(ports: dict[str, int]) -> None:
    """Refuse ports that somebody listens on, or that two servers were given."""
    from turnout.local.processes import in_use

    taken = [
        f"port {port} is {'in use' if in_use(port) else 'given twice'};"
        f" choose another: --{name}-port N"
        for name, port in ports.items()
        if in_use(port) or list(ports.values()).count(port) > 1
    ]
    if taken:
        fail("; ".join(taken))


async def _serve(
    servers: "list[DevServer]",
    ports: dict[str, int],
    data: Path,
    service: str,
    app: str | None,
    env_file: Path | None,
    *,
    reload: bool,
    real_worker: bool,
) -> None:
    from turnout.bootstrap import load_app, read_settings
    from turnout.local.processes import Supervisor
    from turnout.model.devservers import DevSetup
    from turnout.model.tasks import App

    settings = read_settings(os.environ)
    named = app or settings.app
    keys = settings.signing_keys
    key = keys[0].get_secret_value() if keys else _kept_key(data)
    exports = {"TURNOUT_SIGNING_KEYS": key, "TURNOUT_SERVICE_URL": service}
    async with Supervisor(data / "logs") as processes:
        for server in servers:
            setup = DevSetup(
                port=ports[server.name],
                data=data / server.name,
                app=App(name="dev", tasks=()) if named is None else load_app(named),
                service_url=service,
                signing_key=key,
                real_worker=real_worker,
            )
            exports |= await _start(processes, server, setup, workers=named is not None)
        _tell(exports, env_file)
        typer.echo(f"logs: {data / 'logs'}; stop with ^C", err=True)
        changed = await _stopped(reload=reload and named is not None)
    if changed:
        typer.echo("the code changed; starting again", err=True)
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606 - ourselves


async def _start(
    processes: "Supervisor", server: "DevServer", setup: "DevSetup", *, workers: bool
) -> "Mapping[str, str]":
    """Start a provider's server and, where there is an app for it, its worker."""
    setup.data.mkdir(parents=True, exist_ok=True)
    first, *others = server.processes(setup)
    for process in (first, *(others if workers else ())):
        await processes.start(process)
    typer.echo(f"# {server.name}: {server.label}", err=True)
    return server.environ(setup)


def _tell(exports: dict[str, str], env_file: Path | None) -> None:
    """Print the settings for a shell, or write them to a file that only its owner reads."""
    lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in exports.items())
    if env_file is None:
        typer.echo(lines, nl=False)
        return
    env_file.unlink(missing_ok=True)
    env_file.touch(mode=0o600)
    env_file.write_text(lines)
    typer.echo(f"in another shell: . {shlex.quote(str(env_file.absolute()))}", err=True)


def _kept_key(data: Path) -> str:
    """Make a signing key for development once, and keep it where only its owner reads it."""
    path = data / "signing-key"
    if not path.exists():
        data.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text("whsec_" + base64.b64encode(os.urandom(32)).decode())
    return path.read_text().strip()


async def _stopped(*, reload: bool) -> bool:
    """Wait to be stopped, or for the code below the working folder to change: then True."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    seen = _code() if reload else None
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.5)
        if reload and not stop.is_set() and _code() != seen:
            return True
    return False


def _code() -> dict[str, float]:
    """Say when each module below the working folder was last changed."""
    found = (path for path in Path().rglob("*.py") if not path.parts[0].startswith("."))
    return {str(path): path.stat().st_mtime for path in found}
