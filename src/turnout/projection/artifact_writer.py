"""Writing a run's artifacts from its journal: what parity compares, and what a UI may read.

`status.json` follows the run; steps and then the manifest are written once, when the run has ended
and the order of its steps is final.
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from turnout.errors import ArtifactExists, UnknownTask
from turnout.model.artifacts import document_bytes
from turnout.model.keys import run_folder
from turnout.model.providers import Sighting
from turnout.model.runs import Delivery, Journal
from turnout.model.runs import Transition as StateChange
from turnout.model.status import Role, RunStatus
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.ports.artifact_store import ArtifactStore
from turnout.ports.clock import Clock
from turnout.ports.run_store import DeliveryStore, JournalStore, ProjectionQueue
from turnout.projection.documents import Facts, Reason, documents, status

PATIENCE: Millis = 15_000
"""For how long after a run's end its provider is asked until it says that its own run ended."""


class ArtifactWriter:
    """Writes the artifacts of runs; the pump calls it for a run that is due."""

    def __init__(
        self,
        *,
        journals: JournalStore,
        deliveries: DeliveryStore,
        projections: ProjectionQueue,
        artifacts: ArtifactStore,
        app: App,
        clock: Clock,
        look: Callable[[Delivery], Awaitable[Sighting | None]],
        mark: Callable[[Journal], Reason | None] = lambda _journal: None,
        unasked: Callable[[Journal], tuple[str, ...]] = lambda _journal: (),
    ) -> None:
        """look: asks the provider. mark: why a shadow cannot be compared. unasked: see `Facts`."""
        self._journals = journals
        self._deliveries = deliveries
        self._projections = projections
        self._artifacts = artifacts
        self._app = app
        self._clock = clock
        self._look = look
        self._mark = mark
        self._unasked = unasked

    async def __call__(self, run_id: str) -> None:
        """Write a run's artifacts as its journal is now.

        The steps and the manifest of an ended run are written once its provider says that the
        vendor run has ended too, where there is no provider to ask, or after PATIENCE. Until then
        the run stays due.
        """
        facts = await self._facts(run_id)
        seq, ended = facts.journal.run.seq, facts.journal.run.ended_at
        if ended is None:
            await self._put_status(facts)
            await self._projections.record(run_id, seq)
            return
        if _is_settled(facts.sighting) or self._clock.now() - ended > PATIENCE:
            await self._write(facts)
            await self._projections.record(run_id, seq)
        else:
            await self._put_status(facts)

    async def rebuild(self, run_id: str) -> None:
        """Write a run's artifacts again from its journal, over what is there."""
        await self._write(await self._facts(run_id), overwrite=True)

    async def _write(self, facts: Facts, *, overwrite: bool = False) -> None:
        """Write all documents of an ended run, the manifest last."""
        folder = run_folder(facts.journal.run.run_id)
        for path, body in documents(facts).items():
            mode: Literal["create", "overwrite"] = (
                "overwrite" if overwrite or path == "status.json" else "create"
            )
            with contextlib.suppress(ArtifactExists):
                await self._artifacts.put(folder + path, body, mode=mode)

    async def _put_status(self, facts: Facts) -> None:
        key = run_folder(facts.journal.run.run_id) + "status.json"
        await self._artifacts.put(key, document_bytes(status(facts)), mode="overwrite")

    async def _facts(self, run_id: str) -> Facts:
        journal = await self._journals.load(run_id)
        deliveries = await self._deliveries.read(run_id)
        task = self._task(journal)
        ended = journal.run.state.terminal
        return Facts(
            journal=journal,
            transitions=_until(await self._journals.transitions(run_id), journal.run.state),
            deliveries=deliveries,
            sighting=await self._look(deliveries[-1]) if ended and deliveries else None,
            unasked=self._unasked(journal) if ended else (),
            limit=_run_limit(task),
            shadow_mode=task.shadow if task and journal.run.role is Role.SHADOW else None,
            not_comparable=self._mark(journal),
        )

    def _task(self, journal: Journal) -> Task | None:
        with contextlib.suppress(UnknownTask):
            return self._app.task(journal.run.task)
        return None


def _run_limit(task: Task | None) -> int | None:
    """Return the task's limit where it counts runs; None where it counts steps."""
    limit = None if task is None else task.policies.concurrency
    return limit.limit if limit is not None and limit.counts == "runs" else None


def _until(transitions: Sequence[StateChange], state: RunStatus) -> Sequence[StateChange]:
    """Leave out transitions that were committed after the journal was read."""
    states = [change.state for change in transitions]
    return transitions[: states.index(state) + 1]


def _is_settled(sighting: Sighting | None) -> bool:
    return sighting is None or (sighting.state is not None and sighting.state.terminal)
