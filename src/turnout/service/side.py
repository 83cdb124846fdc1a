"""One side of the work: a run store with its worker, its pump and its artifacts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from turnout.ports.artifact_store import ArtifactStore
from turnout.ports.run_store import RunStore
from turnout.ports.signals import Signals
from turnout.projection.artifact_writer import ArtifactWriter
from turnout.pump.pump import Pump
from turnout.worker.worker import TaskWorker


@dataclass(frozen=True, kw_only=True)
class Side:
    """A run store and all that works on it; two sides share nothing but the callers."""

    store: RunStore
    artifacts: ArtifactStore | None
    worker: TaskWorker
    pump: Pump
    signals: Signals
    topic: str
    """The topic of commits that made something due for this side's pump."""
    artifact_writer: ArtifactWriter | None
    """None where no artifacts are written."""

    @asynccontextmanager
    async def pumping(self) -> AsyncIterator[None]:
        """Pump as long as the context is open."""
        end_listening = self.signals.listen(self.topic, self.pump.nudge)
        task = asyncio.create_task(self.pump.run())
        try:
            yield
        finally:
            end_listening()
            self.pump.close()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Close the connections to the run store and to the artifacts."""
        await self.store.close()
        if self.artifacts is not None:
            await self.artifacts.aclose()
