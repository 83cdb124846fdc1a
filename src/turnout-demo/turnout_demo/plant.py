"""Plants one fault in one shadow's artifacts, so that the parity check can be seen to find it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from turnout_parity.read_artifacts import read_manifest, read_status, read_step

from turnout.errors import Unavailable
from turnout.model.artifacts import (
    document_bytes,
    document_entry,
    place_value,
)
from turnout.model.documents import (
    AnyDocument,
    AttemptEntry,
    ManifestDocument,
    RecordedError,
    StatusDocument,
    StepDocument,
    StepEntry,
    Transition,
)
from turnout.model.ids import SHADOW_SUFFIX, primary_id
from turnout.model.keys import step_path
from turnout.model.status import AttemptState, RunStatus, StepKind

NOISE = "noise"
"""Not planted in artifacts: a task that executes in its shadow, and whose output is noise."""


@dataclass(kw_only=True)
class Shadow:
    """A shadow's documents, as they are read and written back."""

    folder: Path
    status: StatusDocument
    manifest: ManifestDocument
    steps: list[StepDocument]

    def write(self) -> None:
        """Write everything back, with a manifest that tells the new story."""
        shutil.rmtree(self.folder / "steps", ignore_errors=True)
        documents: dict[str, AnyDocument] = {"status.json": self.status}
        documents.update((step_path(entry.index, entry.step), entry) for entry in self.steps)
        for path, document in documents.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(document_bytes(document))
        values = [
            document for document in self.manifest.documents if document.path.startswith("values/")
        ]
        entries = [document_entry(path, document) for path, document in documents.items()]
        manifest = self.manifest.model_copy(
            update={
                "steps": tuple(
                    StepEntry(
                        index=entry.index, step=entry.step, kind=entry.kind, branch=entry.branch
                    )
                    for entry in self.steps
                ),
                "documents": tuple(sorted([*entries, *values], key=lambda document: document.path)),
            }
        )
        (self.folder / "manifest.json").write_bytes(document_bytes(manifest))


def plant(kind: str, artifacts: Path) -> str:
    """Plant a fault in the first shadow that it fits; the id of its primary."""
    if kind == "missing":
        folder = next(_folders(artifacts))
        shutil.rmtree(folder)
        return primary_id(folder.name)
    for folder in _folders(artifacts):
        shadow = _read(folder)
        if PLANTS[kind](shadow, artifacts):
            shadow.write()
            return primary_id(folder.name)
    raise Unavailable(f"no shadow is fit for a fault of the kind {kind!r}; ask for more --runs")


def _status(shadow: Shadow, _artifacts: Path) -> bool:
    error = RecordedError(name="Planted", message="a planted failure")
    last = shadow.status.transitions[-1]
    failed = Transition(state=RunStatus.FAILED, at=last.at)
    shadow.status = shadow.status.model_copy(
        update={
            "state": RunStatus.FAILED,
            "transitions": (*shadow.status.transitions[:-1], failed),
            "error": error,
            "result": None,
            "result_ref": None,
            "result_sha256": None,
        }
    )
    return True


def _step(shadow: Shadow, _artifacts: Path) -> bool:
    shadow.steps = _numbered(shadow.steps[:-1])
    return True


def _order(shadow: Shadow, _artifacts: Path) -> bool:
    if any(entry.branch for entry in shadow.steps[:2]) or len(shadow.steps) < 2:  # noqa: PLR2004
        return False
    first, second, *later_steps = shadow.steps
    shadow.steps = _numbered([second, first, *later_steps])
    return True


def _attempts(shadow: Shadow, _artifacts: Path) -> bool:
    at, step = _a_step(shadow)
    first = step.attempts[0]
    failed = AttemptEntry(
        number=first.number,
        started_at=first.started_at,
        duration_ms=1,
        outcome=AttemptState.FAILED,
        error=RecordedError(name="Planted", message="a planted failure"),
        retry_at=first.started_at + 300,
    )
    later = [attempt.model_copy(update={"number": attempt.number + 1}) for attempt in step.attempts]
    shadow.steps[at] = step.model_copy(update={"attempts": (failed, *later)})
    shadow.status = shadow.status.model_copy(update={"attempts": shadow.status.attempts + 1})
    return True


def _output(shadow: Shadow, _artifacts: Path) -> bool:
    at, step = _a_step(shadow)
    placed = place_value({"planted": True})
    shadow.steps[at] = step.model_copy(
        update={"output": placed.inline, "output_ref": None, "output_sha256": placed.sha256}
    )
    return True


def _slow(shadow: Shadow, _artifacts: Path) -> bool:
    delay_ms = 10_000
    timings = shadow.status.timings
    last = shadow.status.transitions[-1]
    later = last.model_copy(update={"at": last.at + delay_ms})
    shadow.status = shadow.status.model_copy(
        update={
            "transitions": (*shadow.status.transitions[:-1], later),
            "timings": timings.model_copy(
                update={
                    "total_ms": (timings.total_ms or 0) + delay_ms,
                    "overhead_ms": (timings.overhead_ms or 0) + delay_ms,
                }
            ),
        }
    )
    return True


def _overlap(shadow: Shadow, artifacts: Path) -> bool:
    """Move a run into the middle of another one of its key."""
    for folder in _folders(artifacts):
        neighbour = _read(folder)
        if folder != shadow.folder and neighbour.status.key == shadow.status.key is not None:
            began, ended = _span(neighbour.status)
            shadow.status = _moved(shadow.status, (began + ended) // 2)
            return True
    return False


def _span(status: StatusDocument) -> tuple[int, int]:
    running = [
        transition.at for transition in status.transitions if transition.state is RunStatus.RUNNING
    ]
    return running[0], status.transitions[-1].at


def _moved(status: StatusDocument, to: int) -> StatusDocument:
    by = to - _span(status)[0]
    moved = tuple(
        transition.model_copy(update={"at": transition.at + by})
        for transition in status.transitions
    )
    return status.model_copy(update={"transitions": moved, "emitted_at": status.emitted_at + by})


PLANTS: dict[str, Callable[[Shadow, Path], bool]] = {
    "status": _status,
    "step": _step,
    "order": _order,
    "attempts": _attempts,
    "output": _output,
    "slow": _slow,
    "overlap": _overlap,
}
KINDS = (*PLANTS, "missing", NOISE)


def _a_step(shadow: Shadow) -> tuple[int, StepDocument]:
    """The first ordinary step of a shadow; every task of the example has one."""
    return next(
        (at, entry)
        for at, entry in enumerate(shadow.steps)
        if entry.kind is StepKind.STEP and entry.attempts
    )


def _numbered(steps: list[StepDocument]) -> list[StepDocument]:
    return [entry.model_copy(update={"index": index}) for index, entry in enumerate(steps)]


def _folders(artifacts: Path) -> Iterator[Path]:
    """The folders of shadows that are compared: one that was set aside shows no fault."""
    for folder in sorted((artifacts / "runs").glob(f"*{SHADOW_SUFFIX}")):
        status = read_status((folder / "status.json").read_bytes(), run_id=folder.name)
        if status.not_comparable is None:
            yield folder


def _read(folder: Path) -> Shadow:
    manifest = read_manifest((folder / "manifest.json").read_bytes())
    paths = [step_path(entry.index, entry.step) for entry in manifest.steps]
    return Shadow(
        folder=folder,
        status=read_status((folder / "status.json").read_bytes()),
        manifest=manifest,
        steps=[read_step((folder / path).read_bytes()) for path in paths],
    )
