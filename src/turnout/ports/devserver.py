"""An offline server: a double of a provider for a laptop and for CI, labelled so.

It is a separate process that speaks only the vendor's own HTTP; an adapter contributes it by the
entry point `turnout.devservers`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from turnout.model.tasks import App


@dataclass(frozen=True, kw_only=True)
class DevSetup:
    """Where an offline server runs, and the service that it serves.

    data: a folder of its own, in which its state survives a restart. signing_key: of the step
    protocol, `whsec_…`. real_worker: run the worker that the vendor would run, where the adapter
    has one, not its stand-in.
    """

    port: int
    data: Path
    app: App
    service_url: str
    signing_key: str = field(repr=False)
    real_worker: bool = False


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process to start: it is ready when `ready_url` answers 200, or at once without one.

    answers: whether the address is its own, and so must be free before; else another process
    tells of it. ready_in: seconds until it must be ready.
    """

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    ready_url: str | None = None
    answers: bool = True
    ready_in: float = 30.0


class DevServer(Protocol):
    """How to start the double and how to reach it; the entry point names a function giving it."""

    @property
    def name(self) -> str:
        """The provider's name."""
        ...

    @property
    def label(self) -> str:
        """What it is, to be shown wherever it is used: "double, not production"."""
        ...

    @property
    def default_port(self) -> int:
        """The port that the real one's dev server listens on."""
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
class StartsWorkers(Protocol):
    """A vendor's, whose tasks run in a worker beside the server, the real one too."""

    def workers(self, setup: DevSetup, real: Mapping[str, str]) -> Sequence[Process]:
        """List what to start for a real server with these settings, so that it runs the tasks.

        InvalidSettings names what the environment lacks.
        """
        ...
