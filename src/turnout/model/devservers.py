"""What an offline server is started with, and the processes that it is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
