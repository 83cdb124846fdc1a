"""How `turnout dev` starts the offline server and a worker: the stand-in, or the real one."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from turnout_dev.devserver import DevSetup, Process
from turnout_triggerdev.definition import write_definition

from turnout.errors import InvalidSettings
from turnout_triggerdev_double.server.main import (
    ACCESS_TOKEN,
    KEYS,
    LABEL,
    PORT,
    PROJECT_REF,
)

REAL_WORKER_IN = 180.0
"""Seconds in which the vendor's CLI installs packages, builds and registers."""
SETTINGS = (
    "TRIGGER_API_URL",
    "TRIGGER_SECRET_KEY",
    "TRIGGER_ACCESS_TOKEN",
    "TRIGGER_PROJECT_REF",
)


@dataclass(frozen=True, kw_only=True)
class TriggerdevServer:
    """The double of Trigger.dev: a server, and the stand-in or the real worker beside it."""

    name: str = "triggerdev"
    label: str = LABEL
    default_port: int = PORT

    def processes(self, setup: DevSetup) -> Sequence[Process]:
        """List the server, then a worker; writes the worker's definition file."""
        definition = write_definition(setup.data, setup.app, setup.service_url)
        origin = f"http://127.0.0.1:{setup.port}"
        ready_url = f"{origin}/double/worker" if setup.real_worker else None
        server = (sys.executable, "-m", "turnout_triggerdev_double.server")
        return (
            Process(
                name="triggerdev",
                argv=(*server, "--port", str(setup.port), "--data", str(setup.data)),
                ready_url=f"{origin}/double/health",
            ),
            _worker(setup, definition, self.environ(setup), ready_url),
        )

    def workers(self, setup: DevSetup, real: Mapping[str, str]) -> Sequence[Process]:
        """List the worker alone, with the settings of a real server."""
        missing = [name for name in SETTINGS if not real.get(name)]
        if setup.real_worker and missing:
            raise InvalidSettings(f"the vendor's CLI needs {', '.join(missing)}")
        definition = write_definition(setup.data, setup.app, setup.service_url)
        return (_worker(setup, definition, real, None),)

    def environ(self, setup: DevSetup) -> Mapping[str, str]:
        """The vendor's settings, which the adapter, the CLI and the SDK read."""
        return {
            "TRIGGER_API_URL": f"http://127.0.0.1:{setup.port}",
            "TRIGGER_SECRET_KEY": KEYS["dev"],
            "TRIGGER_ACCESS_TOKEN": ACCESS_TOKEN,
            "TRIGGER_PROJECT_REF": PROJECT_REF,
        }

    def real(self, environ: Mapping[str, str]) -> Mapping[str, str] | None:
        """The settings of a real server, if the environment has its address and a key."""
        if not environ.get("TRIGGER_API_URL") or not environ.get("TRIGGER_SECRET_KEY"):
            return None
        return {name: environ[name] for name in SETTINGS if environ.get(name)}


def _worker(
    setup: DevSetup, definition: Path, server: Mapping[str, str], ready_url: str | None
) -> Process:
    """A worker for the server that these settings name."""
    return Process(
        name="triggerdev-worker",
        argv=_command(setup, definition),
        ready_url=ready_url,
        answers=False,
        ready_in=REAL_WORKER_IN,
        environ={
            **server,
            "TURNOUT_SIGNING_KEYS": setup.signing_key,
            "TURNOUT_SERVICE_URL": setup.service_url,
        },
    )


def _command(setup: DevSetup, definition: Path) -> tuple[str, ...]:
    """The stand-in needs no Node.js; the real one is the vendor's CLI on the TypeScript worker."""
    run = (sys.executable, "-m")
    if not setup.real_worker:
        return (*run, "turnout_triggerdev_double.standin", "--definition", str(definition))
    folder = str(setup.data / "worker")
    return (
        *(*run, "turnout_triggerdev_double.nodeworker"),
        *("--folder", folder, "--definition", str(definition)),
    )


def devserver() -> TriggerdevServer:
    """Give the offline server that the entry point names."""
    return TriggerdevServer()
