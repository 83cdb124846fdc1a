"""`turnout serve`: the step endpoint, what adapters serve, health, and the pump."""

import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from turnout.cli.exits import describe, fail
from turnout.cli.options import Target
from turnout.errors import TurnoutError

if TYPE_CHECKING:
    import uvicorn

    from turnout.service.process import Turnout

NOT_STARTED = 3
"""The exit code where the service did not come up; the log says why."""

app = typer.Typer()


@app.command()
def serve(
    target: Target = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535)] = 8000,
) -> None:
    """Serve an app until stopped; a running step gets its grace."""
    import os

    import turnout
    from turnout.bootstrap.settings import read_settings
    from turnout.bootstrap.user_code import load_app
    from turnout.cli.logs import show_logs
    from turnout.service.memory import collect_rarely
    from turnout.web.listener import configuration
    from turnout.web.port import in_use

    if in_use(port, host):
        fail(f"port {port} is in use; choose another: --port M")
    try:
        settings = read_settings(os.environ)
        if settings.service_url is None and port:
            settings = read_settings({**os.environ, "TURNOUT_SERVICE_URL": _url(host, port)})
        loaded = load_app(target or settings.app)
        show_logs()
        live = turnout.open_turnout(loaded, settings=settings)
        service = turnout.asgi(live)
    except TurnoutError as error:
        fail(str(error))
    except OSError as error:
        fail(describe(error))
    collect_rarely()
    config = configuration(service, host=host, port=port)
    _listen(config, lambda bound_port: typer.echo(_line(live, host, bound_port), err=True))


def _listen(config: "uvicorn.Config", on_listening: Callable[[int], None]) -> None:
    """Serve until stopped; on_listening gets the port once requests are taken."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_listening(self.servers[0].sockets[0].getsockname()[1])

    server = Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise typer.Exit(NOT_STARTED)


def _line(live: "Turnout", host: str, port: int) -> str:
    """Say what is served, where, for which providers, and how to stop."""
    first, *shadows = live.selection.names
    provider = f"{first}, shadows to {shadows[0]}" if shadows else first
    return f"serving {live.app.name} ({provider}) at {_url(host, port)}; stop with ^C"


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
