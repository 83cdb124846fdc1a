"""An offline server: a double of a provider, or the vendor's own program, for a laptop and for CI.

It is a separate process that speaks only the vendor's own HTTP, and its label says which of the two
it is. A distribution contributes it by the entry point `turnout.devservers`, which names a function
that returns a `DevServer`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from turnout.model.tasks import App


@dataclass(frozen=True, kw_only=True)
class DevSetup:
    """Where an offline server runs, and the service that it calls."""

    port: int
    """The port that it listens on, on loopback."""
    data: Path
    """A folder of its own, in which its state survives a restart."""
    app: App
    """The tasks of the service."""
    service_url: str
    """The address of the service."""
    signing_key: str = field(repr=False)
    """The key of the step protocol, `whsec_…`."""
    real_worker: bool = False
    """Whether to run the worker that the vendor would run, where there is one, not a stand-in."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process to start."""

    name: str
    """Unique among the processes of a supervisor; its log has this name."""
    argv: tuple[str, ...]
    """The command."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that it gets besides those of its parent."""
    ready_url: str | None = None
    """It is ready when this address answers 200; at once where there is none."""
    answers: bool = True
    """Whether it answers at that address itself, whose port must be free before it starts."""
    ready_in: float = 60.0
    """Seconds until it must be ready."""


class DevServer(Protocol):
    """How to start an offline server, and how to reach it."""

    @property
    def name(self) -> str:
        """The provider's name."""
        ...

    @property
    def label(self) -> str:
        """What it is, shown wherever it is used: "double, not production"."""
        ...

    @property
    def default_port(self) -> int:
        """The port that the vendor's own server for development listens on."""
        ...

    def processes(self, setup: DevSetup) -> Sequence[Process]:
        """List what to start, in order: the server, then a worker where the vendor needs one."""
        ...

    def environ(self, setup: DevSetup) -> Mapping[str, str]:
        """Give the settings with which a service reaches it: the vendor's own names."""
        ...

    def real(self, environ: Mapping[str, str]) -> Mapping[str, str] | None:
        """Give the settings of a real server that the environment names; None without one."""
        ...


@runtime_checkable
class NeedsProgram(Protocol):
    """An offline server that is a program of the vendor's own, which is installed apart."""

    def missing(self) -> str:
        """Say what to install on this machine; empty where nothing is missing."""
        ...


@runtime_checkable
class StartsWorkers(Protocol):
    """An offline server of a vendor whose tasks run in a worker beside the server."""

    def workers(self, setup: DevSetup, real: Mapping[str, str]) -> Sequence[Process]:
        """List what to start for a real server with these settings, so that it runs the tasks.

        InvalidSettings names what the environment lacks.
        """
        ...
