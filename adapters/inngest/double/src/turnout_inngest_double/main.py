"""`python -m turnout_inngest_double`: the offline server as a process of its own."""

import argparse
import logging
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from turnout.errors import InvalidSettings
from turnout_inngest_double import signing
from turnout_inngest_double.options import DEFAULT_PORT, Options

if TYPE_CHECKING:
    from turnout_dev.devserver import DevSetup, Process

RETRY_AFTER_S = 2
"""Seconds before a call to the service is made again: on a laptop nobody waits for the table."""


@dataclass(frozen=True, kw_only=True)
class DevServer:
    """How to start the offline server."""

    name: str
    label: str
    default_port: int
    argv: tuple[str, ...]
    """The command to run; append `--port N --data DIR`."""

    def command(self, *, port: int, data: Path) -> list[str]:
        """The whole command for a port and a folder to keep its state in."""
        return [*self.argv, "--port", str(port), "--data", str(data)]

    def processes(self, setup: "DevSetup") -> Sequence["Process"]:
        """The server alone: it calls the service itself."""
        # Late: the server's own process needs nothing of Turnout's ports.
        from turnout_dev.devserver import Process

        command = self.command(port=setup.port, data=setup.data)
        return (
            Process(
                name=self.name,
                argv=(*command, "--retry-interval", str(RETRY_AFTER_S)),
                ready_url=f"http://127.0.0.1:{setup.port}/health",
            ),
        )

    def environ(self, setup: "DevSetup") -> Mapping[str, str]:
        """The settings that reach the server, which the adapter and the SDK both read."""
        origin = f"http://127.0.0.1:{setup.port}"
        return {"INNGEST_DEV": origin, "INNGEST_BASE_URL": origin}

    def real(self, environ: Mapping[str, str]) -> Mapping[str, str] | None:
        """The settings of the real server that TURNOUT_INNGEST_URL names, with its keys.

        With a signing key it is a self-hosted server, else a real dev server.
        """
        url = environ.get("TURNOUT_INNGEST_URL")
        if not url:
            return None
        settings = {name: value for name, value in environ.items() if name.startswith("INNGEST_")}
        mode = {} if settings.get("INNGEST_SIGNING_KEY") else {"INNGEST_DEV": url}
        return {"INNGEST_BASE_URL": url, **mode, **settings}


def devserver() -> DevServer:
    """What `turnout dev` starts for this vendor."""
    return DevServer(
        name="inngest",
        label="double, not production",
        default_port=DEFAULT_PORT,
        argv=(sys.executable, "-m", "turnout_inngest_double"),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal says stop."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    try:
        options = options_of(parsed)
    except InvalidSettings as error:
        parser.error(str(error))
    logging.basicConfig(level=parsed.log_level.upper(), format="%(levelname)s %(message)s")
    # Late, so that --help answers at once.
    from turnout_inngest_double.app import create_app

    config = uvicorn.Config(
        create_app(options),
        host=options.host,
        port=options.port,
        log_level=parsed.log_level,
        access_log=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
        lifespan="on",
    )
    uvicorn.Server(config).run(sockets=_sockets(config, options))


def _sockets(config: uvicorn.Config, options: Options) -> list[socket.socket]:
    """One for each port; the same application answers on all."""
    sockets = [config.bind_socket()]
    if options.gateway_port is not None:
        second = uvicorn.Config(config.app, host=options.host, port=options.gateway_port)
        sockets.append(second.bind_socket())
    return sockets


def options_of(parsed: argparse.Namespace) -> Options:
    """The options of a parsed command line; InvalidSettings names what does not fit."""
    if parsed.signing_key is not None and not signing.is_key(parsed.signing_key):
        raise InvalidSettings("--signing-key must be hex with an even number of digits")
    if parsed.signing_key is not None and not parsed.event_key:
        raise InvalidSettings("--signing-key needs at least one --event-key")
    return Options(
        host=parsed.host,
        port=parsed.port,
        gateway_port=parsed.connect_gateway_port,
        data=parsed.data,
        sdk_urls=tuple(parsed.sdk_url or ()),
        poll_interval_s=parsed.poll_interval,
        signing_key=parsed.signing_key,
        event_keys=tuple(parsed.event_key or ()),
        retry_interval_s=parsed.retry_interval,
        workers=parsed.workers,
        keep_runs=parsed.keep_runs,
        test_clock=parsed.test_clock,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m turnout_inngest_double",
        description="An offline double of the Inngest server. Not for production.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", "-p", type=int, default=DEFAULT_PORT)
    add("--connect-gateway-port", type=int, help="a port of its own for connect's sockets")
    add("--data", type=Path, help="folder that keeps the state; without it, memory only")
    add("--sdk-url", "-u", action="append", help="application to register; repeatable")
    add("--poll-interval", type=float, default=5.0, help="seconds between registrations")
    add("--signing-key", help="hex; turns self-hosted mode on")
    add("--event-key", action="append", help="repeatable; needed in self-hosted mode")
    add("--retry-interval", type=int, help="seconds before every retry, instead of the table")
    add("--workers", type=int, default=100, help="calls to applications under way at a time")
    add("--keep-runs", type=int, default=10_000, help="ended runs that are remembered")
    add("--test-clock", action="store_true", help="let POST /test/clock move the clock")
    add("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    return parser
