"""`turnout serve`: the step endpoint, what adapters serve, health, and the pump."""

from typing import Annotated

import typer

from turnout.cli.shared import fail, told
from turnout.errors import TurnoutError

app = typer.Typer()


@app.command()
def serve(
    target: Annotated[
        str | None, typer.Argument(metavar="[MODULE:APP]", help="The app; else TURNOUT_APP.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535)] = 8000,
) -> None:
    """Serve an app until stopped; a running step gets its grace."""
    import os

    import uvicorn

    import turnout
    from turnout.bootstrap import load_app, read_settings
    from turnout.bootstrap.memory import spare_collector
    from turnout.local.processes import in_use

    if in_use(port, host):
        fail(f"port {port} is in use; choose another: --port M")
    try:
        environ = {"TURNOUT_SERVICE_URL": f"http://{host}:{port}", **os.environ}
        settings = read_settings(environ)
        live = turnout.open_turnout(load_app(target or settings.app), settings=settings)
        service = turnout.asgi(live)
    except TurnoutError as error:
        fail(str(error))
    except OSError as error:
        fail(told(error))
    spare_collector()
    uvicorn.run(service, host=host, port=port, log_level="warning", timeout_graceful_shutdown=15)
