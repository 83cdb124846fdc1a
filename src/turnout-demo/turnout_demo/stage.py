"""The demo's stage: ports, folders, keys, and the processes that speak only HTTP."""

import base64
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from turnout_dev.devserver import DevServer, DevSetup, NeedsProgram, Process
from turnout_dev.installed import devservers
from turnout_dev.supervisor import free_port
from turnout_parity.rules import Bounds

from turnout.errors import UnknownProvider
from turnout.model.time import Millis, millis
from turnout_demo.tasks import agents


@dataclass(frozen=True, kw_only=True)
class DemoStage:
    """Everything that the journey's processes need to know of each other."""

    out: Path
    old: DevServer
    new: DevServer
    lag: str
    seed: int
    ports: dict[str, int] = field(default_factory=dict)
    signing_key: str = field(repr=False)
    real_worker: bool = False
    """Whether vendors' own workers run the tasks, where an adapter has one."""

    @property
    def slow_ms(self) -> Millis:
        """How much more overhead a shadow may have: a real worker starts a process for a run."""
        return 60_000 if self.real_worker else Bounds().slow_ms

    @property
    def service_url(self) -> str:
        """Where the example service listens."""
        return f"http://127.0.0.1:{self.ports['service']}"

    @property
    def artifacts(self) -> Path:
        """The folder that artifacts are written to."""
        return self.out / "artifacts"

    @property
    def database_url(self) -> str:
        """The run store."""
        return f"sqlite:///{self.out}/run-store.db"

    def setup(self, server: DevServer) -> DevSetup:
        """Say where an offline server runs."""
        return DevSetup(
            port=self.ports[server.name],
            data=self.out / server.name,
            app=agents,
            service_url=self.service_url,
            signing_key=self.signing_key,
            real_worker=self.real_worker,
        )

    def servers(self) -> Sequence[Process]:
        """List the offline servers, their workers, and the language service."""
        nlm = self.ports["nlm"]
        language = Process(
            name="nlm",
            argv=_uvicorn("turnout_demo.nlm:app", nlm),
            environ={"NLM_SEED": str(self.seed)},
            ready_url=f"http://127.0.0.1:{nlm}/health",
        )
        doubles = [
            process
            for server in (self.old, self.new)
            for process in server.processes(self.setup(server))
        ]
        return [language, *doubles]

    @property
    def minutes_between_reports(self) -> int:
        """More than the lag of shadows: else some report would never have its shadow yet."""
        return 1 + millis(self.lag) // 60_000

    def service(self, provider: str, *, store_seconds: float = 0) -> Process:
        """Describe the example service under a provider; only the flag differs."""
        environ = {
            **self.old.environ(self.setup(self.old)),
            **self.new.environ(self.setup(self.new)),
            "ORCHESTRATOR_PROVIDER": provider,
            "ORCHESTRATOR_PRIMARY": self.old.name,
            "ORCHESTRATOR_SHADOW": self.new.name,
            "TURNOUT_DATABASE_URL": self.database_url,
            "TURNOUT_ARTIFACTS": str(self.artifacts),
            "TURNOUT_SIGNING_KEYS": self.signing_key,
            "TURNOUT_SERVICE_URL": self.service_url,
            "TURNOUT_DUAL_LAG": self.lag,
            "TURNOUT_LEASE": "4s",
            "NLM_URL": f"http://127.0.0.1:{self.ports['nlm']}",
            "RESULTS": str(self.out / "results"),
            "DOCUMENTS": os.environ.get("DOCUMENTS", str(Path.cwd())),
            "DAILY_REPORT_CRON": f"*/{self.minutes_between_reports} * * * *",
            "STORE_SECONDS": str(store_seconds),
        }
        return Process(
            name="service",
            argv=(*_uvicorn("turnout_demo.service:service", self.ports["service"]), "--factory"),
            environ=environ,
            ready_url=f"{self.service_url}/turnout/health",
        )


def stage(
    out: Path,
    *,
    seed: int,
    lag: str,
    old: str | None = None,
    new: str | None = None,
    real_worker: bool = False,
) -> DemoStage:
    """Set the stage for a move from one provider to another.

    old, new: their names; unless named, the first two whose offline server needs no program.
    """
    servers = devservers()
    doubles = [name for name, server in servers.items() if not isinstance(server, NeedsProgram)]
    names = [name for name in (old, new) if name is not None]
    free = [name for name in doubles if name not in names]
    ends = [old or next(iter(free), ""), new or next(iter(free[0 if old else 1 :]), "")]
    if unknown := [name for name in ends if name not in servers]:
        raise UnknownProvider(
            f"the demo moves between two offline servers; there is none of {unknown[0]!r};"
            f" installed: {', '.join(servers) or 'none'}"
        )
    if ends[0] == ends[1]:
        raise UnknownProvider(f"the demo moves from one provider to another, not to {ends[0]!r}")
    old_server, new_server = servers[ends[0]], servers[ends[1]]
    parts = ("service", "nlm", *ends)
    key = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    return DemoStage(
        out=out.resolve(),
        old=old_server,
        new=new_server,
        lag=lag,
        seed=seed,
        ports={name: free_port() for name in parts},
        signing_key=key,
        real_worker=real_worker,
    )


def _uvicorn(target: str, port: int) -> tuple[str, ...]:
    return (
        sys.executable,
        *("-m", "uvicorn", target, "--host", "127.0.0.1", "--port", str(port)),
        *("--log-level", "warning", "--timeout-graceful-shutdown", "5"),
    )
