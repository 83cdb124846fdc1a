"""Stores of runs made by the published models, so that tests say only what is unusual."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from turnout_parity.check import check
from turnout_parity.report import ParityReport

from turnout.model.artifacts import document_bytes, document_entry, place_value, value_entry
from turnout.model.documents import ManifestDocument, StatusDocument, StepDocument
from turnout.model.keys import step_path
from turnout.ports.artifact_store import ArtifactStore
from turnout.stores.artifacts import open_store

START = 1_770_000_000_000


@dataclass
class StepSpec:
    """One step as a test wants it."""

    id: str
    output: Any = None
    branch: str = ""
    outcomes: Sequence[str] = ("completed",)
    gap_ms: int = 1_000
    planned_ms: int | None = None
    kind: str = "step"


def steps(*ids: str) -> list[StepSpec]:
    """Make plain steps, each with an output of its own."""
    return [StepSpec(id=each, output={"from": each}) for each in ids]


@dataclass
class RunSpec:
    """One run as a test wants it."""

    id: str
    task: str = "agent-run"
    steps: list[StepSpec] = field(default_factory=lambda: steps("load", "summarise", "store"))
    state: str = "completed"
    path: Sequence[str] = ("queued", "running")
    overhead_ms: int = 40
    result: Any = None
    error: dict[str, str] | None = None
    shadow_mode: str | None = None
    not_comparable: str | None = None
    role: str | None = None
    key: str | None = None
    limit: int | None = None
    start: int = START
    lasts_ms: int = 500
    code_version: str = "abc"
    provider_state: str | None = None

    @property
    def shadow(self) -> bool:
        return self.id.endswith("-dryrun")


def documents_of(run: RunSpec) -> dict[str, bytes]:
    """Write a run's documents, by path below its folder."""
    found: dict[str, bytes] = {}
    entries = []
    for index, spec in enumerate(run.steps):
        document, values = _step(run, index, spec)
        path = step_path(index, spec.id)
        found[path] = document_bytes(document)
        entries.append(document_entry(path, document))
        for placed in values:
            found[placed.ref.path] = placed.body
            entries.append(value_entry(placed))
    status = _status(run)
    found["status.json"] = document_bytes(status)
    entries.append(document_entry("status.json", status))
    found["manifest.json"] = document_bytes(_manifest(run, entries))
    return found


def _status(run: RunSpec) -> StatusDocument:
    placed = place_value(run.result)
    tries = [outcome for s in run.steps if s.kind == "step" for outcome in s.outcomes]
    moments = [run.start, *(run.start + 20 for _ in run.path[1:])]
    transitions = [{"state": s, "at": at} for s, at in zip(run.path, moments, strict=True)]
    if run.state != run.path[-1]:
        transitions.append({"state": run.state, "at": run.start + run.lasts_ms})
    return _strict(
        StatusDocument,
        schema="turnout/status@1",
        run_id=run.id,
        task=run.task,
        provider="new" if run.shadow else "old",
        provider_run_id=f"vendor-{run.id}",
        provider_state=run.provider_state,
        role=run.role or ("shadow" if run.shadow else "primary"),
        shadow_mode=run.shadow_mode or ("replay" if run.shadow else None),
        not_comparable=run.not_comparable,
        key=run.key,
        state=run.state,
        transitions=transitions,
        attempts=sum(outcome != "interrupted" for outcome in tries),
        deliveries=1,
        timings={
            "queued_ms": 10,
            "execution_ms": run.lasts_ms,
            "waiting_ms": 0,
            "total_ms": run.lasts_ms + run.overhead_ms,
            "overhead_ms": run.overhead_ms,
        },
        error=run.error,
        result=placed.inline,
        result_ref=placed.ref and placed.ref.model_dump(),
        result_sha256=placed.sha256,
        emitted_at=run.start,
    )


def _manifest(run: RunSpec, entries: list[Any]) -> ManifestDocument:
    listed = [
        {"index": index, "step": spec.id, "kind": spec.kind, "branch": spec.branch}
        for index, spec in enumerate(run.steps)
    ]
    limit = {"key": run.key or "", "limit": run.limit} if run.limit is not None else None
    return _strict(
        ManifestDocument,
        schema="turnout/manifest@1",
        run_id=run.id,
        task=run.task,
        code_version=run.code_version,
        protocol=1,
        steps=listed,
        unasked=[],
        documents=[e.model_dump() for e in sorted(entries, key=lambda each: each.path)],
        concurrency=limit,
    )


def _step(run: RunSpec, index: int, spec: StepSpec) -> tuple[StepDocument, list[Any]]:
    placed = place_value(spec.output)
    attempts, at = [], run.start + 50
    for number, outcome in enumerate(spec.outcomes, start=1):
        last = number == len(spec.outcomes)
        planned = spec.gap_ms if spec.planned_ms is None else spec.planned_ms
        attempts.append(
            {
                "number": number,
                "started_at": at,
                "duration_ms": 30,
                "outcome": outcome,
                "error": None if outcome == "completed" else {"name": "E", "message": "503"},
                "retry_at": None if last else at + 30 + planned,
            }
        )
        at += 30 + spec.gap_ms
    done = spec.outcomes[-1] == "completed"
    document = _strict(
        StepDocument,
        schema="turnout/step@1",
        run_id=run.id,
        step=spec.id,
        kind=spec.kind,
        index=index,
        branch=spec.branch,
        state="completed" if done else "failed",
        attempts=attempts,
        error=None if done else {"name": "E", "message": "503"},
        output=placed.inline if done else None,
        output_ref=placed.ref.model_dump() if done and placed.ref else None,
        output_sha256=placed.sha256 if done else None,
    )
    return document, [placed] if done and placed.ref else []


def _strict(model: Any, **fields: Any) -> Any:
    """Validate plain values: words become enums, lists become tuples."""
    return model.model_validate(fields, strict=False)


@dataclass
class Shelf:
    """A store on disk, and what a test puts into it."""

    root: Path
    store: ArtifactStore

    def put(self, run: RunSpec, *, without: Sequence[str] = ()) -> dict[str, bytes]:
        found = documents_of(run)
        for path, body in found.items():
            if path not in without:
                self.write(f"runs/{run.id}/{path}", body)
        return found

    def pair(self, run_id: str, shadow: dict[str, Any] | None = None, **both: Any) -> None:
        self.put(RunSpec(id=run_id, **both))
        self.put(RunSpec(**{"id": f"{run_id}-dryrun", **both, **(shadow or {})}))

    def write(self, key: str, body: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    async def check(self, **options: Any) -> ParityReport:
        return await check(self.store, **options)


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    """Give an empty folder store."""
    root = tmp_path / "artifacts"
    store = open_store(str(root))
    yield Shelf(root=root, store=store)
    await store.aclose()


@pytest.fixture
def spec() -> Callable[..., StepSpec]:
    """Give the maker of steps."""
    return StepSpec


@pytest.fixture
def run_spec() -> Callable[..., RunSpec]:
    """Give the maker of runs."""
    return RunSpec


@pytest.fixture
def documents() -> Callable[[RunSpec], dict[str, bytes]]:
    """Give the writer of a run's documents."""
    return documents_of
