"""`turnout dev`: the offline servers of the installed providers, on loopback."""

import asyncio
import base64
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from turnout.errors import TurnoutError
from turnout.ports.commands import Desk
from turnout_dev.installed import devservers, without_devserver

if TYPE_CHECKING:
    from turnout.model.tasks import App
    from turnout_dev.devserver import DevServer, DevSetup
    from turnout_dev.supervisor import Supervisor

SERVICE = "http://127.0.0.1:8000"
NAMED = "The app: module:attribute, or a module, whose attribute `app` it is; else TURNOUT_APP."
INTERRUPTED = 130
"""The exit code of a command that ^C ended."""


class _WithPorts(TyperCommand):
    """A command whose --help lists the options that the installed offline servers add."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """List them with their defaults."""
        ports = ", ".join(
            f"--{name}-port N ({server.default_port})" for name, server in devservers().items()
        )
        self.help = f"{self.help}\n\nPorts, and what they are unless set: {ports or 'none'}."
        super().format_help(ctx, formatter)


@dataclass(frozen=True, kw_only=True)
class _Session:
    """What one start of the offline servers serves."""

    servers: "Mapping[str, DevServer]"
    ports: Mapping[str, int]
    data: Path
    """Where their state is kept."""
    app: "App | None"
    """The tasks; None where no app is named: then no worker starts."""
    service_url: str
    signing_key: str = field(repr=False)
    real_worker: bool = False

    def setup(self, server: "DevServer") -> "DevSetup":
        """Say where one of the servers runs."""
        from turnout.model.tasks import App
        from turnout_dev.devserver import DevSetup

        return DevSetup(
            port=self.ports[server.name],
            data=self.data / server.name,
            app=self.app or App(name="dev", tasks=()),
            service_url=self.service_url,
            signing_key=self.signing_key,
            real_worker=self.real_worker,
        )


def commands(desk: Desk) -> typer.Typer:
    """Make the command; the entry point `turnout.commands` names this function."""
    app_ = typer.Typer(add_completion=False)

    @app_.command(
        cls=_WithPorts,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def dev(
        context: typer.Context,
        data: Annotated[Path, typer.Option(help="Where their state is kept.")] = Path(
            ".turnout/dev"
        ),
        service: Annotated[
            str,
            typer.Option(
                metavar="URL",
                show_default=False,  # it is cut where the terminal is narrow
                help="Where your service listens; else on 127.0.0.1, at port 8000.",
            ),
        ] = SERVICE,
        reload: Annotated[
            bool, typer.Option(help="Start them again when the app's code changes.")
        ] = False,
        env_file: Annotated[
            Path | None, typer.Option(help="Write the settings here, not to stdout; sh sources it.")
        ] = None,
        real_worker: Annotated[
            bool,
            typer.Option("--real-worker", help="Run vendors' own workers; needs Node.js."),
        ] = False,
        app: Annotated[
            str | None, typer.Option("--app", metavar="MODULE[:ATTRIBUTE]", help=NAMED)
        ] = None,
    ) -> None:
        """Start every installed provider's offline server: for development, not production.

        --PROVIDER starts that one alone; it may be repeated. With an app, workers that a provider
        needs start too.
        """
        installed = devservers()
        servers, arguments = _chosen(desk, context.args, installed)
        _explain_missing(desk, started=bool(servers))
        all_ports = _ports(desk, arguments, installed)
        ports = {name: port for name, port in all_ports.items() if name in servers}
        _refuse_ports_in_use(desk, ports)
        settings = desk.settings()
        session = _Session(
            servers=servers,
            ports=ports,
            data=data,
            app=desk.app(app) if app or settings.get("TURNOUT_APP") else None,
            service_url=service,
            signing_key=_signing_key(settings, data),
            real_worker=real_worker,
        )
        _run(desk, session, env_file, reload=reload)

    return app_


def _chosen(
    desk: Desk, arguments: list[str], servers: "Mapping[str, DevServer]"
) -> "tuple[Mapping[str, DevServer], list[str]]":
    """Choose the servers that are named by options, else all, and give the options that are left.

    A program of a vendor's that is not on this machine is left out, aloud; it fails if it is named.
    """
    from turnout_dev.devserver import NeedsProgram

    named = [argument.removeprefix("--") for argument in arguments]
    chosen = {name: server for name, server in servers.items() if name in named} or servers
    startable = dict(chosen)
    for name, server in chosen.items():
        missing = server.missing() if isinstance(server, NeedsProgram) else ""
        if missing and name in named:
            desk.fail(f"{name}: {missing}")
        if missing:
            desk.tell(f"# {name}: {missing}")
            del startable[name]
    return startable, [argument for argument in arguments if argument[2:] not in chosen]


def _explain_missing(desk: Desk, *, started: bool) -> None:
    """Name the installed providers without an offline server; stop where none has one."""
    missing = without_devserver()
    for name in missing:
        desk.tell(
            f"# {name}: no offline server is installed; it is used with the settings of a real one"
        )
    if not started:
        desk.fail(
            "no offline server is installed; install one, like turnout-<provider>-double"
            if not missing
            else f"no offline server is installed for {', '.join(missing)}"
        )


def _ports(
    desk: Desk, arguments: list[str], servers: "Mapping[str, DevServer]"
) -> Mapping[str, int]:
    """Read the --<provider>-port options."""
    ports = {name: server.default_port for name, server in servers.items()}
    words = [part for argument in arguments for part in argument.split("=", 1)]
    if len(words) % 2:
        desk.fail(f"{words[-1]}: not an option, or one without its value")
    for option, value in zip(words[::2], words[1::2], strict=True):
        name = option.removeprefix("--").removesuffix("-port")
        if option != f"--{name}-port" or name not in ports or not value.isdigit():
            options = ", ".join(f"--{provider}-port N" for provider in ports)
            desk.fail(f"{option} {value}: not an option; ports are set by {options}")
        ports[name] = int(value)
    return ports


def _refuse_ports_in_use(desk: Desk, ports: Mapping[str, int]) -> None:
    """Stop where another process listens on a port, or two servers were given the same one."""
    from turnout.web.port import in_use

    refused = [
        f"port {port} is {'in use' if in_use(port) else 'given twice'};"
        f" choose another: --{name}-port N"
        for name, port in ports.items()
        if in_use(port) or list(ports.values()).count(port) > 1
    ]
    if refused:
        desk.fail("; ".join(refused))


def _run(desk: Desk, session: _Session, env_file: Path | None, *, reload: bool) -> None:
    """Serve until stopped; what goes wrong is one line on stderr."""
    try:
        changed = asyncio.run(_serve(desk, session, env_file, reload=reload))
    except TurnoutError as error:
        desk.fail(str(error))
    except OSError as error:
        file = f"{error.filename}: " if error.filename else ""
        desk.fail(f"{file}{error.strerror or error}")
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if changed:
        desk.tell("the code changed; starting again")
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606 - ourselves


async def _serve(desk: Desk, session: _Session, env_file: Path | None, *, reload: bool) -> bool:
    """Start everything, and wait; whether the code changed."""
    from turnout_dev.supervisor import Supervisor

    exports = {
        "TURNOUT_SIGNING_KEYS": session.signing_key,
        "TURNOUT_SERVICE_URL": session.service_url,
    }
    logs = session.data / "logs"
    async with Supervisor(logs) as processes:
        for server in session.servers.values():
            exports |= await _start(processes, server, session)
            desk.tell(f"# {server.name}: {server.label}")
        stop = _stop_signal()  # whoever reads the settings may stop us
        _export(desk, exports, env_file)
        desk.tell(f"logs: {logs}; stop with ^C")
        return await _stopped(stop, reload=reload and session.app is not None)


async def _start(
    processes: "Supervisor", server: "DevServer", session: _Session
) -> Mapping[str, str]:
    """Start a provider's server and, where there is an app for it, its worker."""
    setup = session.setup(server)
    setup.data.mkdir(parents=True, exist_ok=True)
    first, *workers = server.processes(setup)
    for process in (first, *(workers if session.app is not None else ())):
        await processes.start(process)
    return server.environ(setup)


def _export(desk: Desk, exports: Mapping[str, str], env_file: Path | None) -> None:
    """Print the settings for a shell, or write them to a file that only its owner reads."""
    lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in exports.items())
    if env_file is None:
        typer.echo(lines, nl=False)
        return
    env_file.unlink(missing_ok=True)
    env_file.touch(mode=0o600)
    env_file.write_text(lines)
    desk.tell(f"in another shell: . {shlex.quote(str(env_file.absolute()))}")


def _signing_key(settings: Mapping[str, str], data: Path) -> str:
    """Give the first key that is set, else one for development, made once.

    Only its owner reads the file that it is kept in.
    """
    for key in settings.get("TURNOUT_SIGNING_KEYS", "").split(","):
        if key.strip():
            return key.strip()
    path = data / "signing-key"
    if not path.exists():
        data.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text("whsec_" + base64.b64encode(os.urandom(32)).decode())
    return path.read_text().strip()


def _stop_signal() -> asyncio.Event:
    """Make an event that the signals set which ask the command to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _stopped(stop: asyncio.Event, *, reload: bool) -> bool:
    """Wait to be stopped, or for the code below the working folder to change: then True."""
    before = _modified() if reload else None
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.5)
        if reload and not stop.is_set() and _modified() != before:
            return True
    return False


def _modified() -> dict[str, float]:
    """Say when each module below the working folder was last changed."""
    modules = (path for path in Path().rglob("*.py") if not path.parts[0].startswith("."))
    return {str(path): path.stat().st_mtime for path in modules}
