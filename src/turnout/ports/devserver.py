"""An offline server: a double of a provider for a laptop and for CI, labelled so.

It is a separate process that speaks only the vendor's own HTTP; an adapter contributes it by the
entry point `turnout.devservers`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from turnout.model.devservers import DevSetup, Process


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
