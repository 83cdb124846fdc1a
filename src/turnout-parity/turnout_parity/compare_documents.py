"""Reads and compares those documents of one pair that its digests cannot decide about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from turnout.errors import ArtifactError, ArtifactInvalid, ArtifactMissing, TooLarge
from turnout.model.artifacts import parity_sha256
from turnout.model.canonical import sha256_of
from turnout.model.documents import DocumentEntry, Source, StepDocument, ValueRef
from turnout.model.keys import RUNS, STATUS
from turnout.model.storage import ArtifactBody, GetResult
from turnout.ports.artifact_store import ArtifactStore, ListsArtifacts
from turnout_parity.compare_manifests import StepPair
from turnout_parity.compare_status import compare_attempts_total
from turnout_parity.compare_steps import (
    compare_attempts,
    compare_delays,
    compare_step,
    compare_values,
    output_source,
)
from turnout_parity.faults import SideName, invalid, missing, unlisted
from turnout_parity.pair_result import PairResult
from turnout_parity.read_artifacts import read_status, read_step, read_value
from turnout_parity.report import Kind
from turnout_parity.rules import Bounds
from turnout_parity.run_documents import ComparableRun, RunDocuments

UNLISTED_LIMIT: Final = 20
"""Documents of one run that its manifest does not list, and that are reported one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    """A value of one side, in its document or beside it."""

    inline: Any
    ref: ValueRef | None
    sha256: str | None
    """None where there is no value; a value of null has a digest."""


@dataclass(slots=True, kw_only=True)
class DocumentComparison:
    """Reads and compares further documents of one pair; an invalid one becomes a difference."""

    store: ArtifactStore
    bounds: Bounds
    result: PairResult
    primary: ComparableRun
    shadow: ComparableRun
    steps: Sequence[StepPair]
    """The steps whose documents are read."""
    searched_runs: Sequence[RunDocuments] = ()
    """Runs whose folders are searched for documents that their manifests do not list."""

    @property
    def needs_reading(self) -> bool:
        """Whether a document must be read; if none, the digests have decided all."""
        return bool(self.steps or self.searched_runs) or not self._same_result

    @property
    def _same_result(self) -> bool:
        return self.primary.status.result_sha256 == self.shadow.status.result_sha256

    def count_unread(self) -> None:
        """Count the steps that are not read, because their digests are equal."""
        unread = len(self.primary.manifest.steps) - len(self.steps)
        if unread <= 0:
            return
        executed = self.shadow.status.shadow_mode == "execute"
        self.result.documents += 2 * unread
        self.result.count(Kind.ATTEMPTS, Kind.STEP, times=unread)
        source = Source.RECORDED if executed else Source.CONSTRUCTION
        self.result.count(Kind.OUTPUT, source=source, times=unread)

    async def compare(self) -> None:
        """Compare steps, results and the total of attempts; read the documents that are needed."""
        for run in self.searched_runs:
            await report_unlisted(self.store, self.result, run)
        if self.steps:
            await self._compare_steps()
        await self._compare_results()
        compare_attempts_total(self.result, self.primary.status, self.shadow.status)

    async def _compare_steps(self) -> None:
        primary_entries = {entry.path: entry for entry in self.primary.manifest.documents}
        shadow_entries = {entry.path: entry for entry in self.shadow.manifest.documents}
        outcomes = self.store.get_many(key for pair in self.steps for key in self._keys(pair))
        bodies = [outcome async for _, outcome in outcomes]
        # The keys alternate between the sides, and so do the bodies.
        for pair, body, twin_body in zip(self.steps, bodies[::2], bodies[1::2], strict=True):
            entry, twin_entry = primary_entries.get(pair.primary), shadow_entries.get(pair.shadow)
            document = self._read_step("primary", pair.primary, body, entry)
            twin = self._read_step("shadow", pair.shadow, twin_body, twin_entry)
            self.result.verified += 0 if pair.differs else 2
            if document is not None and twin is not None:
                await self._compare_step(pair, document, twin)
        self.result.documents += 2 * len(self.steps)
        self.result.fetched += 2 * len(self.steps)

    async def _compare_results(self) -> None:
        self.result.count(Kind.OUTPUT)
        if self._same_result:
            return
        statuses = [read_status(run.status_body) for run in (self.primary, self.shadow)]
        values = [
            _Value(inline=status.result, ref=status.result_ref, sha256=status.result_sha256)
            for status in statuses
        ]
        await self._compare_values(*values, name="result", artifact=STATUS)

    def _keys(self, pair: StepPair) -> tuple[str, str]:
        run_ids = self.primary.status.run_id, self.shadow.status.run_id
        return f"{RUNS}/{run_ids[0]}/{pair.primary}", f"{RUNS}/{run_ids[1]}/{pair.shadow}"

    def _read_step(
        self, side: SideName, path: str, outcome: GetResult, entry: DocumentEntry | None
    ) -> StepDocument | None:
        run_id = (self.primary if side == "primary" else self.shadow).status.run_id
        try:
            if not isinstance(outcome, ArtifactBody):
                raise outcome
            document = read_step(outcome.body, run_id=run_id)
        except ArtifactMissing:
            self.result.reject([missing(side, path)])
            return None
        except (ArtifactInvalid, TooLarge) as error:
            self.result.reject([invalid(side, path, error)])
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
        """Check a document against the digests that the manifest has of it."""
        if entry is None:
            error = ArtifactInvalid(f"{path}: the manifest does not list it")
        elif entry.sha256 != sha256_of(body):
            error = ArtifactInvalid(f"{path}: its bytes are not those that the manifest names")
        elif entry.parity_sha256 != parity_sha256(document):
            error = ArtifactInvalid(f"{path}: the manifest's parity digest is not the document's")
        else:
            return
        self.result.reject([invalid(side, path, error)])

    async def _compare_step(
        self, pair: StepPair, document: StepDocument, twin: StepDocument
    ) -> None:
        compare_step(self.result, pair, document, twin)
        compare_attempts(self.result, pair, document, twin)
        compare_delays(self.result, pair, document, twin, self.bounds)
        source = output_source(self.shadow.status, document.kind)
        if document.output_sha256 == twin.output_sha256:
            self.result.count(Kind.OUTPUT, source=source)
            return
        values = [
            _Value(inline=step.output, ref=step.output_ref, sha256=step.output_sha256)
            for step in (document, twin)
        ]
        place: dict[str, Any] = {"artifact": pair.primary, "step": pair.step, "source": source}
        await self._compare_values(*values, name="output", **place)

    async def _compare_values(
        self,
        primary: _Value,
        shadow: _Value,
        *,
        name: str,
        artifact: str,
        step: str | None = None,
        source: Source = Source.RECORDED,
    ) -> None:
        """Compare two values, each as the field `name` of an object; no value, no field."""
        primary_field = await self._as_field("primary", self.primary, name, primary)
        if primary_field is None:
            return
        shadow_field = await self._as_field("shadow", self.shadow, name, shadow)
        if shadow_field is None:
            return
        compare_values(
            self.result,
            primary_field,
            shadow_field,
            artifact=artifact,
            source=source,
            step=step,
            executed=self.shadow.status.shadow_mode == "execute",
        )

    async def _as_field(
        self, side: SideName, run: ComparableRun, name: str, value: _Value
    ) -> dict[str, Any] | None:
        """Return a value as the only field of an object, reading it if need be; None if invalid."""
        if value.sha256 is None:
            return {}
        if value.ref is None:
            return {name: value.inline}
        path = value.ref.path
        try:
            stored = await self.store.get(f"{RUNS}/{run.status.run_id}/{path}")
            return {name: read_value(stored.body, value.ref)}
        except ArtifactMissing:
            self.result.reject([missing(side, path)])
        except (ArtifactError, TooLarge) as error:
            self.result.reject([invalid(side, path, error)])
        return None


async def report_unlisted(store: ListsArtifacts, result: PairResult, run: RunDocuments) -> None:
    """Report step documents that lie in a run's folder and not in its manifest."""
    if run.manifest is None:
        return
    folder = f"{RUNS}/{run.name}/"
    listed = {entry.path for entry in run.manifest.documents}
    strays: list[str] = []
    async for page in store.pages(f"{folder}steps/"):
        paths = [stored.key.removeprefix(folder) for stored in page]
        strays += [path for path in paths if path not in listed]
        if len(strays) >= UNLISTED_LIMIT:
            break
    result.reject(unlisted(run.side, path) for path in strays[:UNLISTED_LIMIT])
