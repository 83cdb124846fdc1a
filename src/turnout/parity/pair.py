"""Compare one pair to the end: what its heads tell, and the documents that they make necessary."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from turnout.errors import ArtifactError, ArtifactInvalid, ArtifactMissing, TooLarge
from turnout.model.artifacts import (
    DocumentEntry,
    StatusDocument,
    StepDocument,
    ValueRef,
    parity_sha256,
    read_step,
    read_value,
)
from turnout.model.canonical import sha256_of
from turnout.model.keys import RUNS, STATUS
from turnout.model.storage import ArtifactBody
from turnout.model.time import Millis
from turnout.parity import heads, steps
from turnout.parity.due import PATIENCE
from turnout.parity.explain import Explainer
from turnout.parity.heads import Bounds, Heads, StepPair
from turnout.parity.report import Kind, Source
from turnout.parity.sides import Fault, Side, SideName, faults_as_differences, invalid, missing
from turnout.parity.tally import Compared
from turnout.ports.artifact_store import ReadsArtifacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a check compares; the same for all its pairs."""

    bounds: Bounds = field(default_factory=Bounds)
    verify_first: int = 100
    """All documents of so many pairs are read, whatever their digests say."""
    verify_one_in: int = 100
    """And of one in so many after them, chosen by run id."""
    explain: Explainer = field(default_factory=Explainer)
    patience: Millis | None = PATIENCE
    """How long a shadow is waited for beyond its lag; None where whatever may come is there."""

    def verifies(self, run_id: str, number: int) -> bool:
        """Tell whether a pair's digests are checked against its documents."""
        chosen = zlib.crc32(run_id.encode(errors="replace")) % max(self.verify_one_in, 1) == 0
        return number <= self.verify_first or chosen


def compare_heads(run_id: str, primary: Side, shadow: Side, rules: Rules) -> Compared:
    """Compare what manifests and status documents tell; faults are differences by name."""
    task = primary.status or primary.manifest or shadow.status or shadow.manifest
    found = Compared(run_id=run_id, task=task.task if task else None, documents=4, fetched=4)
    found.differences += faults_as_differences(
        run_id, found.task, [*primary.faults, *shadow.faults]
    )
    if primary.status is not None and shadow.status is not None:
        heads.compare_status(found, primary.status, shadow.status)
        heads.compare_overhead(found, primary.status, shadow.status, rules.bounds)
    if primary.manifest is not None and shadow.manifest is not None:
        heads.compare_manifests(found, primary.manifest, shadow.manifest)
    return found


def whole(side: Side) -> Heads | None:
    """Give both documents of a side, where both could be read."""
    if side.manifest is None or side.status is None:
        return None
    return Heads(manifest=side.manifest, status=side.status)


def to_read(primary: Heads, shadow: Heads, *, verify: bool) -> list[StepPair]:
    """List the steps whose documents must be read: those that differ, and those with delays."""
    pairs = heads.step_pairs(primary.manifest, shadow.manifest)
    if verify or heads.has_retries(primary) or heads.has_retries(shadow):
        return pairs
    return [pair for pair in pairs if pair.differs]


def settle_unread(found: Compared, primary: Heads, shadow: Heads, read: Sequence[StepPair]) -> None:
    """Count the steps that equal digests have decided."""
    unread = len(primary.manifest.steps) - len(read)
    if unread <= 0:
        return
    executed = shadow.status.shadow_mode == "execute"
    found.documents += 2 * unread
    found.tested[(Kind.ATTEMPTS, Source.OURS)] += unread
    found.tested[(Kind.STEP, Source.OURS)] += unread
    found.tested[(Kind.OUTPUT, Source.OURS if executed else Source.CONSTRUCTION)] += unread


@dataclass(slots=True, kw_only=True)
class Reading:
    """Reads the documents of one pair; what cannot be believed becomes a difference."""

    store: ReadsArtifacts
    rules: Rules
    found: Compared
    primary: Heads
    shadow: Heads

    async def steps(self, pairs: Sequence[StepPair]) -> None:
        """Read and compare steps, a pair of documents at a time."""
        ours = {entry.path: entry for entry in self.primary.manifest.documents}
        theirs = {entry.path: entry for entry in self.shadow.manifest.documents}
        keys = [key for pair in pairs for key in self._keys(pair)]
        bodies = [outcome async for _, outcome in self.store.get_many(keys)]
        for place, pair in enumerate(pairs):
            one = self._step("primary", pair.primary, bodies[2 * place], ours.get(pair.primary))
            other = self._step(
                "shadow", pair.shadow, bodies[2 * place + 1], theirs.get(pair.shadow)
            )
            self.found.verified += 0 if pair.differs else 2
            if one is not None and other is not None:
                await self._compare(pair, one, other)
        self.found.documents += 2 * len(pairs)
        self.found.fetched += 2 * len(pairs)

    async def result(self) -> None:
        """Compare what the tasks returned."""
        ours, theirs = self.primary.status, self.shadow.status
        self.found.tested[(Kind.OUTPUT, Source.OURS)] += 1
        if ours.result_sha256 == theirs.result_sha256:
            return
        values = await self._values(
            (ours.result, ours.result_ref), (theirs.result, theirs.result_ref)
        )
        if values is not None:
            self._mark_values(ours.result_sha256, theirs.result_sha256, values, "result", STATUS)

    def _keys(self, pair: StepPair) -> tuple[str, str]:
        ours, theirs = self.primary.status.run_id, self.shadow.status.run_id
        return f"{RUNS}/{ours}/{pair.primary}", f"{RUNS}/{theirs}/{pair.shadow}"

    def _step(
        self, side: SideName, path: str, outcome: Any, entry: DocumentEntry | None
    ) -> StepDocument | None:
        run_id = (self.primary if side == "primary" else self.shadow).status.run_id
        try:
            if not isinstance(outcome, ArtifactBody):
                raise outcome
            document = read_step(outcome.body, run_id=run_id)
        except ArtifactMissing:
            self._fault(missing(side, path))
            return None
        except (ArtifactInvalid, TooLarge) as error:
            self._fault(invalid(side, path, error))
            return None
        self._verify(side, path, outcome.body, document, entry)
        return document

    def _verify(
        self,
        side: SideName,
        path: str,
        body: bytes,
        document: StepDocument,
        entry: DocumentEntry | None,
    ) -> None:
        """See whether the manifest tells the truth about a document."""
        if entry is None:
            error = ArtifactInvalid(f"{path}: the manifest does not list it")
        elif entry.sha256 != sha256_of(body):
            error = ArtifactInvalid(f"{path}: its bytes are not those that the manifest names")
        elif entry.parity_sha256 != parity_sha256(document):
            error = ArtifactInvalid(f"{path}: the manifest's parity digest is not the document's")
        else:
            return
        self._fault(invalid(side, path, error))

    def _fault(self, fault: Fault) -> None:
        self.found.differences += faults_as_differences(self.found.run_id, self.found.task, [fault])

    async def _compare(self, pair: StepPair, one: StepDocument, other: StepDocument) -> None:
        steps.compare_step(self.found, pair, one, other)
        steps.compare_attempts(self.found, pair, one, other)
        steps.compare_delays(self.found, pair, one, other, self.rules.bounds)
        source = steps.output_source(self.shadow.status, one.kind)
        if one.output_sha256 == other.output_sha256:
            self.found.tested[(Kind.OUTPUT, source)] += 1
            return
        values = await self._values((one.output, one.output_ref), (other.output, other.output_ref))
        if values is not None:
            self._mark_values(
                one.output_sha256,
                other.output_sha256,
                values,
                "output",
                pair.primary,
                step=pair.step,
                source=source,
            )

    async def _values(
        self,
        ours: tuple[Any, ValueRef | None],
        theirs: tuple[Any, ValueRef | None],
    ) -> tuple[Any, Any] | None:
        """Read the values that lie beside their documents; None where one cannot be had."""
        found: list[Any] = []
        sides: tuple[tuple[SideName, StatusDocument, Any, ValueRef | None], ...] = (
            ("primary", self.primary.status, *ours),
            ("shadow", self.shadow.status, *theirs),
        )
        for side, status, value, ref in sides:
            if ref is None:
                found.append(value)
                continue
            try:
                raw = await self.store.get(f"{RUNS}/{status.run_id}/{ref.path}")
                found.append(read_value(raw.body, ref))
            except ArtifactMissing:
                self._fault(missing(side, ref.path))
                return None
            except (ArtifactError, TooLarge) as error:
                self._fault(invalid(side, ref.path, error))
                return None
        return found[0], found[1]

    def _mark_values(
        self,
        ours: str | None,
        theirs: str | None,
        values: tuple[Any, Any],
        name: str,
        artifact: str,
        *,
        step: str | None = None,
        source: Source = Source.OURS,
    ) -> None:
        """Compare two values; without a digest there is no value, which is not null."""
        boxes = tuple(
            {name: value} if digest is not None else {}
            for digest, value in ((ours, values[0]), (theirs, values[1]))
        )
        steps.compare_values(
            self.found,
            (boxes[0], boxes[1]),
            below="",
            artifact=artifact,
            source=source,
            explain=self.rules.explain,
            step=step,
            executed=self.shadow.status.shadow_mode == "execute",
        )
