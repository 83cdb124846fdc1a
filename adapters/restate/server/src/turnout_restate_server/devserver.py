"""How to start the vendor's own server, and how to reach it."""

import functools
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from turnout_dev.devserver import DevSetup, Process
from turnout_dev.supervisor import free_port

from turnout.errors import InvalidSettings

PROGRAM: Final = "restate-server"
PROGRAM_SETTING: Final = "TURNOUT_RESTATE_SERVER"
"""The setting that names the program, where it is not on the path."""
DEFAULT_PORT, DEFAULT_ADMIN_PORT = 8080, 9070
PARTITIONS: Final = "4"
"""The vendor's default is 24: more threads and memory than one machine's tests need."""


class RestateServer:
    """The vendor's server for development, one node."""

    name: Final = "restate"
    label: Final = "the vendor's own server, on this machine"
    default_port: Final = DEFAULT_PORT

    def missing(self) -> str:
        """Say what to install; empty where the program is there."""
        if _program() is not None:
            return ""
        return (
            f"its server is not on this machine: npm install --global @restatedev/{PROGRAM}, or"
            f" name the program by {PROGRAM_SETTING}"
        )

    def processes(self, setup: DevSetup) -> Sequence[Process]:
        """List the server alone: it calls the service itself. InvalidSettings: it is missing."""
        program = _program()
        if program is None:
            raise InvalidSettings(f"{self.name}: {self.missing()}")
        admin = _admin_port(setup.port)
        return (
            Process(
                name=self.name,
                argv=(program, "--no-logo", "--node-name", "dev", "--base-dir", str(setup.data)),
                environ={
                    "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{setup.port}",
                    "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
                    "RESTATE_BIND_ADDRESS": f"127.0.0.1:{free_port()}",
                    "RESTATE_LISTEN_MODE": "tcp",
                    "RESTATE_DEFAULT_NUM_PARTITIONS": PARTITIONS,
                    "RESTATE_DISABLE_TELEMETRY": "true",
                    "RUST_LOG": "warn",
                },
                ready_url=f"http://127.0.0.1:{admin}/health",
            ),
        )

    def environ(self, setup: DevSetup) -> Mapping[str, str]:
        """Give the settings with which a service reaches it."""
        return {
            "RESTATE_INGRESS_URL": f"http://127.0.0.1:{setup.port}",
            "RESTATE_ADMIN_URL": f"http://127.0.0.1:{_admin_port(setup.port)}",
        }

    def real(self, environ: Mapping[str, str]) -> Mapping[str, str] | None:
        """Give the settings of a server that runs already, which RESTATE_ADMIN_URL names."""
        if not environ.get("RESTATE_ADMIN_URL"):
            return None
        return {name: value for name, value in environ.items() if name.startswith("RESTATE_")}


def devserver() -> RestateServer:
    """Make what `turnout dev` starts for this vendor; the entry point names this function."""
    return RestateServer()


def _program() -> str | None:
    """Find the server's program: named, beside this Python, or on the path."""
    named = os.environ.get(PROGRAM_SETTING)
    beside = str(Path(sys.executable).parent)
    return named or shutil.which(PROGRAM, path=beside) or shutil.which(PROGRAM)


@functools.cache
def _admin_port(ingress: int) -> int:
    """Choose the port of the admin API, one for each port of the ingress."""
    return DEFAULT_ADMIN_PORT if ingress == DEFAULT_PORT else free_port()
