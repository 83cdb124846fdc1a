"""How the offline server is started."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT = 8288


@dataclass(frozen=True, kw_only=True)
class Options:
    """Everything that the command line decides."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    gateway_port: int | None = None
    """A second port for the sockets of `connect`; None serves them on the first."""
    data: Path | None = None
    """Where the state is kept; None keeps it in memory."""
    sdk_urls: tuple[str, ...] = ()
    poll_interval_s: float = 5.0
    signing_key: str | None = None
    event_keys: tuple[str, ...] = ()
    retry_interval_s: int | None = None
    """One delay for every retry instead of the vendor's table."""
    workers: int = 100
    """How many calls to applications may be under way."""
    keep_runs: int = 10_000
    """How many ended runs are remembered."""
    test_clock: bool = False
    """Whether `POST /test/clock` may move the clock."""

    @property
    def is_self_hosted(self) -> bool:
        """Whether keys guard the server."""
        return self.signing_key is not None

    @property
    def kind(self) -> str:
        """The word for the mode in `x-inngest-server-kind`."""
        return "cloud" if self.is_self_hosted else "dev"
