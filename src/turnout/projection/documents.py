"""Pure functions that make the documents of a run from its journal, as often as wanted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import orjson

from turnout.model.artifacts import (
    PlacedValue,
    document_bytes,
    document_entry,
    place_value,
    value_entry,
)
from turnout.model.documents import (
    AnyDocument,
    AttemptEntry,
    ConcurrencyEntry,
    DocumentEntry,
    ManifestDocument,
    RecordedError,
    StatusDocument,
    StepDocument,
    StepEntry,
    Transition,
)
from turnout.model.keys import step_path
from turnout.model.protocol import PROTOCOL
from turnout.model.providers import Sighting
from turnout.model.runs import Attempt, Delivery, Failure, Journal, Step
from turnout.model.runs import Transition as StateChange
from turnout.model.status import AttemptState
from turnout.projection.timings import timings

Reason = Literal["late", "provider_failure", "unsupported"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that a run's documents are made from."""

    journal: Journal
    transitions: Sequence[StateChange]
    deliveries: Sequence[Delivery] = ()
    sighting: Sighting | None = None
    """What the provider says of its run; None while the run goes on, or without one to ask."""
    unasked: tuple[str, ...] = ()
    """Recorded steps that the code does not ask for."""
    limit: int | None = None
    """How many runs of the task may run at the same time."""
    shadow_mode: Literal["replay", "mock", "execute"] | None = None
    """How a shadow runs its steps; None for a primary."""
    not_comparable: Reason | None = None
    """Why a shadow cannot be compared with its primary."""


def documents(facts: Facts) -> dict[str, bytes]:
    """Make all documents of an ended run, by path below its folder, the manifest last."""
    state = status(facts)
    bodies: dict[str, bytes] = {"status.json": document_bytes(state)}
    entries = [document_entry("status.json", state), *_values(bodies, facts.journal.run.result)]
    for step in _steps(facts.journal, facts.unasked):
        entries.extend(_put(bodies, step_path(step.index, step.step), step))
        entries.extend(_values(bodies, facts.journal.steps[step.step].output))
    unique = {entry.path: entry for entry in entries}
    bodies["manifest.json"] = document_bytes(
        _manifest(facts, [unique[path] for path in sorted(unique)])
    )
    return bodies


def status(facts: Facts) -> StatusDocument:
    """Make `status.json`; the run may still be running."""
    run, latest = facts.journal.run, facts.deliveries[-1] if facts.deliveries else None
    result = _placed(run.result)
    attempts = [*chain.from_iterable(facts.journal.attempts.values())]
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
        transitions=tuple(
            Transition(state=change.state, at=change.at) for change in facts.transitions
        ),
        attempts=sum(attempt.state.counts for attempt in attempts),
        deliveries=len(facts.deliveries),
        timings=timings(facts.journal, facts.deliveries),
        error=_error(run.error),
        result=result.inline if result else None,
        result_ref=result.ref if result else None,
        result_sha256=result.sha256 if result else None,
        emitted_at=run.emitted_at,
    )


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
            attempts=tuple(_attempts(journal.attempts.get(step.step, ()))),
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
    steps = [step for step in journal.steps.values() if step.step not in unasked]
    return sorted(steps, key=lambda step: step.position)


def _branch(step: Step) -> str:
    return step.position.rpartition(".")[0]


def _attempts(attempts: Sequence[Attempt]) -> Iterator[AttemptEntry]:
    for attempt in attempts:
        if attempt.state is not AttemptState.CLAIMED and attempt.ended_at is not None:
            yield AttemptEntry(
                number=attempt.number,
                started_at=attempt.claimed_at,
                duration_ms=max(0, attempt.ended_at - attempt.claimed_at),
                outcome=attempt.state,
                error=_error(attempt.error),
                retry_at=attempt.retry_at,
            )


def _error(error: Failure | None) -> RecordedError | None:
    return None if error is None else RecordedError(name=error.name, message=error.message)


def _placed(value: bytes | None) -> PlacedValue | None:
    return None if value is None else place_value(orjson.loads(value))


def _put(bodies: dict[str, bytes], path: str, document: AnyDocument) -> list[DocumentEntry]:
    bodies[path] = document_bytes(document)
    return [document_entry(path, document)]


def _values(bodies: dict[str, bytes], value: bytes | None) -> list[DocumentEntry]:
    """Put a large value beside its document."""
    placed = _placed(value)
    if placed is None or placed.ref is None or placed.body is None:
        return []
    bodies[placed.ref.path] = placed.body
    return [value_entry(placed)]
