"""Artifacts from the journal: what parity compares, and what a UI may read.

`status.json` follows the run; steps and then the manifest are written once, when the run has ended
and the order of its steps is final. Every document can be made again from the journal.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from turnout.errors import ArtifactExists, UnknownTask
from turnout.model.artifacts import (
    AnyDocument,
    AttemptEntry,
    ConcurrencyEntry,
    DocumentEntry,
    ManifestDocument,
    PlacedValue,
    RecordedError,
    StatusDocument,
    StepDocument,
    StepEntry,
    Transition,
    document_bytes,
    document_entry,
    place_value,
    run_folder,
    step_path,
    value_entry,
)
from turnout.model.protocol import PROTOCOL
from turnout.model.providers import Sighting
from turnout.model.runs import Attempt, Delivery, Failure, Journal, Step
from turnout.model.runs import Transition as StateChange
from turnout.model.status import AttemptState, Role, RunStatus
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.ports.artifact_store import ArtifactStore
from turnout.ports.clock import Clock
from turnout.ports.run_store import RunStore
from turnout.projection.timings import timings

Reason = Literal["late", "provider_failure", "unsupported"]
PATIENCE: Millis = 15_000
"""For how long after a run's end its provider is asked until it says that its own run ended."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that a run's documents are made of."""

    journal: Journal
    transitions: Sequence[StateChange]
    deliveries: Sequence[Delivery] = ()
    sighting: Sighting | None = None
    unasked: tuple[str, ...] = ()
    limit: int | None = None
    shadow_mode: Literal["replay", "mock", "execute"] | None = None
    not_comparable: Reason | None = None


class Projector:
    """Writes the artifacts of runs; whoever holds a run's projection may call it for the run."""

    def __init__(
        self,
        *,
        store: RunStore,
        artifacts: ArtifactStore,
        app: App,
        clock: Clock,
        look: Callable[[Delivery], Awaitable[Sighting | None]],
        mark: Callable[[Journal], Reason | None] = lambda _journal: None,
        unasked: Callable[[Journal], tuple[str, ...]] = lambda _journal: (),
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._app = app
        self._clock = clock
        self._look = look
        self._mark = mark
        self._unasked = unasked

    async def __call__(self, run_id: str) -> None:
        """Bring a run's artifacts up to its journal.

        A run that has ended is finished off once its provider says that its own run has ended
        too, when there is nobody to ask, or when the patience is over; until then it stays due.
        """
        facts = await self._facts(run_id)
        seq, ended = facts.journal.run.seq, facts.journal.run.ended_at
        if ended is None:
            await self._put_status(facts)
            await self._store.projections.record(run_id, seq)
            return
        if _settled(facts.sighting) or self._clock.now() - ended > PATIENCE:
            await self.write(facts)
            await self._store.projections.record(run_id, seq)
        else:
            await self._put_status(facts)

    async def rebuild(self, run_id: str) -> None:
        """Write a run's artifacts anew from its journal, over what is there."""
        await self.write(await self._facts(run_id), overwrite=True)

    async def write(self, facts: Facts, *, overwrite: bool = False) -> None:
        """Write all documents of an ended run, the manifest last."""
        folder = run_folder(facts.journal.run.run_id)
        for path, body in documents(facts).items():
            mode: Literal["create", "overwrite"] = (
                "overwrite" if overwrite or path == "status.json" else "create"
            )
            try:
                await self._artifacts.put(folder + path, body, mode=mode)
            except ArtifactExists:
                continue

    async def _put_status(self, facts: Facts) -> None:
        key = run_folder(facts.journal.run.run_id) + "status.json"
        await self._artifacts.put(key, document_bytes(status(facts)), mode="overwrite")

    async def _facts(self, run_id: str) -> Facts:
        journal = await self._store.journals.load(run_id)
        deliveries = await self._store.deliveries.read(run_id)
        task = self._task_of(journal)
        ended = journal.run.state.terminal
        return Facts(
            journal=journal,
            transitions=_until(await self._store.journals.transitions(run_id), journal.run.state),
            deliveries=deliveries,
            sighting=await self._look(deliveries[-1]) if ended and deliveries else None,
            unasked=self._unasked(journal) if ended else (),
            limit=_run_limit(task),
            shadow_mode=task.shadow if task and journal.run.role is Role.SHADOW else None,
            not_comparable=self._mark(journal),
        )

    def _task_of(self, journal: Journal) -> Task | None:
        with contextlib.suppress(UnknownTask):
            return self._app.task(journal.run.task)
        return None


def documents(facts: Facts) -> dict[str, bytes]:
    """Make all documents of an ended run, by path below its folder, the manifest last."""
    state = status(facts)
    made: dict[str, bytes] = {"status.json": document_bytes(state)}
    entries = [document_entry("status.json", state), *_values(made, facts.journal.run.result)]
    for step in _steps(facts.journal, facts.unasked):
        entries.extend(_put(made, step_path(step.index, step.step), step))
        entries.extend(_values(made, facts.journal.steps[step.step].output))
    unique = {each.path: each for each in entries}
    made["manifest.json"] = document_bytes(
        _manifest(facts, [unique[each] for each in sorted(unique)])
    )
    return made


def status(facts: Facts) -> StatusDocument:
    """Make `status.json`, of a run that may still be going."""
    run, latest = facts.journal.run, facts.deliveries[-1] if facts.deliveries else None
    result = _placed(run.result)
    tried = [each for attempts in facts.journal.attempts.values() for each in attempts]
    return StatusDocument(
        schema="turnout/status@1",
        run_id=run.run_id,
        task=run.task,
        provider=run.provider,
        provider_run_id=latest.provider_run_id if latest else None,
        provider_state=facts.sighting.state if facts.sighting else None,
        role=run.role,
        shadow_mode=facts.shadow_mode,
        not_comparable=facts.not_comparable,
        key=run.limit_key,
        state=run.state,
        transitions=tuple(Transition(state=each.state, at=each.at) for each in facts.transitions),
        attempts=sum(each.state.counts for each in tried),
        deliveries=len(facts.deliveries),
        timings=timings(facts.journal),
        error=_error(run.error),
        result=result.inline if result else None,
        result_ref=result.ref if result else None,
        result_sha256=result.sha256 if result else None,
        emitted_at=run.emitted_at,
    )


def _run_limit(task: Task | None) -> int | None:
    """The limit on whole runs; one on steps says nothing of how runs overlap."""
    limit = None if task is None else task.policies.concurrency
    return limit.limit if limit is not None and limit.counts == "runs" else None


def _until(transitions: Sequence[StateChange], state: RunStatus) -> Sequence[StateChange]:
    """Leave out what was committed after the journal was read."""
    states = [each.state for each in transitions]
    return transitions[: states.index(state) + 1]


def _settled(sighting: Sighting | None) -> bool:
    return sighting is None or (sighting.state is not None and sighting.state.terminal)


def _steps(journal: Journal, unasked: Sequence[str]) -> Iterator[StepDocument]:
    for index, step in enumerate(_in_order(journal, unasked)):
        output = _placed(step.output)
        yield StepDocument(
            schema="turnout/step@1",
            run_id=journal.run.run_id,
            step=step.step,
            kind=step.kind,
            index=index,
            branch=_branch(step),
            state=step.state,
            attempts=tuple(_tries(journal.attempts.get(step.step, ()))),
            error=_error(step.error),
            output=output.inline if output else None,
            output_ref=output.ref if output else None,
            output_sha256=output.sha256 if output else None,
        )


def _manifest(facts: Facts, entries: Sequence[DocumentEntry]) -> ManifestDocument:
    run = facts.journal.run
    limited = run.limit_key is not None and facts.limit is not None
    return ManifestDocument(
        schema="turnout/manifest@1",
        run_id=run.run_id,
        task=run.task,
        code_version=run.code_version,
        protocol=PROTOCOL,
        steps=tuple(
            StepEntry(index=index, step=step.step, kind=step.kind, branch=_branch(step))
            for index, step in enumerate(_in_order(facts.journal, facts.unasked))
        ),
        unasked=facts.unasked,
        documents=tuple(entries),
        concurrency=ConcurrencyEntry(key=run.limit_key or "", limit=facts.limit or 0)
        if limited
        else None,
    )


def _in_order(journal: Journal, unasked: Sequence[str]) -> list[Step]:
    """The steps as the function asked for them, branches depth-first."""
    asked = [each for each in journal.steps.values() if each.step not in unasked]
    return sorted(asked, key=lambda each: each.position)


def _branch(step: Step) -> str:
    return step.position.rpartition(".")[0]


def _tries(attempts: Sequence[Attempt]) -> Iterator[AttemptEntry]:
    for each in attempts:
        if each.state is not AttemptState.CLAIMED and each.ended_at is not None:
            yield AttemptEntry(
                number=each.number,
                started_at=each.claimed_at,
                duration_ms=max(0, each.ended_at - each.claimed_at),
                outcome=each.state,
                error=_error(each.error),
                retry_at=each.retry_at,
            )


def _error(error: Failure | None) -> RecordedError | None:
    return None if error is None else RecordedError(name=error.name, message=error.message)


def _placed(value: bytes | None) -> PlacedValue | None:
    return None if value is None else place_value(orjson.loads(value))


def _put(made: dict[str, bytes], path: str, document: AnyDocument) -> list[DocumentEntry]:
    made[path] = document_bytes(document)
    return [document_entry(path, document)]


def _values(made: dict[str, bytes], value: bytes | None) -> list[DocumentEntry]:
    """Keep a large value beside its document."""
    placed = _placed(value)
    if placed is None or placed.ref is None or placed.body is None:
        return []
    made[placed.ref.path] = placed.body
    return [value_entry(placed)]
