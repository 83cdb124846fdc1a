"""Parity of a team's own JSON documents, whatever their schema."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from turnout.errors import ArtifactMissing, InvalidJson, InvalidSettings, TooLarge
from turnout.model.canonical import MAX_BYTES, parse
from turnout.model.keys import valid_key
from turnout.model.storage import ArtifactBody, ArtifactEntry, GetResult
from turnout.parity.explain import Explainer
from turnout.parity.ignores import glob
from turnout.parity.report import Difference, Kind, Source
from turnout.parity.sides import SideName, faults_as_differences, invalid, missing
from turnout.parity.steps import compare_values
from turnout.parity.tally import Compared, Tally
from turnout.ports.artifact_store import ArtifactStore

RUN: Final = "{run}"
TASK: Final = "{task}"
BATCH: Final = 256
"""Documents asked for in one go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Which keys are documents, and how a twin is named; made by `documents_at`."""

    prefix: str
    """What all keys start with."""
    key: re.Pattern[str]
    """Captures `run`, and `task` where the pattern names one."""
    twin: re.Pattern[str]
    """Captures `run` in a shadow's name."""
    twin_name: str
    """Writes a shadow's name, with `{run}` for the primary's."""


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run's documents, by their key without the run's name."""

    name: str
    task: str | None
    stored: dict[str, ArtifactEntry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """A pair with documents that must be read."""

    found: Compared
    paths: list[tuple[str, ArtifactEntry, ArtifactEntry]]


def documents_at(pattern: str, *, twin: str = "{run}-dryrun") -> Documents:
    """Read `--documents` and `--twin`; `InvalidSettings` says what is wrong with them."""
    if pattern.count(RUN) != 1 or pattern.count(TASK) > 1:
        raise InvalidSettings(f"--documents {pattern!r}: write {RUN} once, and {TASK} at most once")
    before = pattern.partition(RUN)[0]
    if "*" in before:
        raise InvalidSettings(f"--documents {pattern!r}: no * before {RUN}, so that runs stream by")
    if twin.count(RUN) != 1 or twin == RUN or "/" in twin:
        raise InvalidSettings(f"--twin {twin!r}: write {RUN} once with something beside it, no /")
    return Documents(
        prefix=re.split(r"\{task\}|\{run\}", pattern)[0],
        key=_key_pattern(pattern),
        twin=re.compile(re.escape(twin).replace(re.escape(RUN), "(?P<run>.+)")),
        twin_name=twin,
    )


async def check_documents(
    store: ArtifactStore, documents: Documents, tally: Tally, progress: Callable[[int], None]
) -> None:
    """Compare every pair of documents and count it.

    Equal size and ETag decide; only other documents are read. A run waits in memory until its twin
    has come by: with a suffix as twin's name that is at once, else up to the end of the listing.
    """
    explain = Explainer(redaction=tally.redaction)
    batch: list[_Waiting] = []
    seen = 0
    async for primary, shadow in _pairs(store, documents, tally):
        seen += 1
        batch.append(_compare(documents, primary, shadow))
        if sum(len(each.paths) for each in batch) >= BATCH or len(batch) >= BATCH:
            await _read(store, batch, tally, explain)
            batch = []
            progress(seen)
    await _read(store, batch, tally, explain)
    progress(seen)


async def _pairs(
    store: ArtifactStore, documents: Documents, tally: Tally
) -> AsyncIterator[tuple[_Run | None, _Run | None]]:
    """Pair runs; those without a twin come last."""
    alone: dict[tuple[str | None, str], _Run] = {}
    async for run in _runs(store, documents, tally):
        shadow = documents.twin.fullmatch(run.name)
        twin = shadow["run"] if shadow else documents.twin_name.replace(RUN, run.name)
        other = alone.pop((run.task, twin), None)
        if other is None:
            alone[(run.task, run.name)] = run
        else:
            yield (other, run) if shadow else (run, other)
    for run in alone.values():
        yield (None, run) if documents.twin.fullmatch(run.name) else (run, None)


async def _runs(store: ArtifactStore, documents: Documents, tally: Tally) -> AsyncIterator[_Run]:
    run: _Run | None = None
    async for page in store.pages(documents.prefix):
        for stored in page:
            match = documents.key.fullmatch(stored.key)
            if match is None or not valid_key(stored.key):
                tally.totals["junk"] += 1
                continue
            name, task = match["run"], match.groupdict().get("task")
            if run is None or (run.name, run.task) != (name, task):
                if run is not None:
                    yield run
                run = _Run(name=name, task=task)
            path = stored.key[match.end("run") :].lstrip("/")
            run.stored[path or stored.key] = stored
    if run is not None:
        yield run


def _compare(documents: Documents, primary: _Run | None, shadow: _Run | None) -> _Waiting:
    """Compare what the listing tells; name the documents that must be read."""
    ours, theirs = (run.stored if run is not None else {} for run in (primary, shadow))
    run_id = primary.name if primary is not None else _primary_of(documents, shadow)
    task = (primary or shadow or _Run(name="", task=None)).task
    found = Compared(run_id=run_id, task=task, documents=len(ours) + len(theirs))
    waiting: list[tuple[str, ArtifactEntry, ArtifactEntry]] = []
    if primary is None or shadow is None:
        found.missing_twin = True
        found.differences.append(
            _no_twin(documents, run_id, task, "primary" if primary is None else "shadow")
        )
        return _Waiting(found=found, paths=waiting)
    for path in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(path), theirs.get(path)
        if one is None or other is None:
            fault = missing("primary" if one is None else "shadow", path)
            found.differences += faults_as_differences(run_id, task, [fault])
        elif one.size == other.size and one.etag and one.etag == other.etag:
            found.tested[(Kind.OUTPUT, Source.OURS)] += 1
        else:
            waiting.append((path, one, other))
    return _Waiting(found=found, paths=waiting)


async def _read(
    store: ArtifactStore, batch: list[_Waiting], tally: Tally, explain: Explainer
) -> None:
    outcomes = store.get_many(_keys(batch))
    for each in batch:
        for path, _, _ in each.paths:
            bodies = (await anext(outcomes))[1], (await anext(outcomes))[1]
            each.found.fetched += 2
            _compare_bodies(each.found, path, bodies, explain)
        tally.add(each.found)


def _keys(batch: list[_Waiting]) -> Iterator[str]:
    for each in batch:
        for _, one, other in each.paths:
            yield one.key
            yield other.key


def _compare_bodies(
    found: Compared, path: str, bodies: tuple[GetResult, GetResult], explain: Explainer
) -> None:
    if all(isinstance(each, ArtifactBody) for each in bodies) and bodies[0] == bodies[1]:
        found.tested[(Kind.OUTPUT, Source.OURS)] += 1
        return
    values: list[Any] = []
    sides: tuple[SideName, SideName] = ("primary", "shadow")
    for side, outcome in zip(sides, bodies, strict=True):
        try:
            if not isinstance(outcome, ArtifactBody):
                raise outcome
            values.append(parse(outcome.body, max_bytes=MAX_BYTES))
        except ArtifactMissing:  # it was listed a moment ago
            fault = missing(side, path)
            found.differences += faults_as_differences(found.run_id, found.task, [fault])
        except (InvalidJson, TooLarge) as error:
            fault = invalid(side, path, error)
            found.differences += faults_as_differences(found.run_id, found.task, [fault])
    if len(values) == len(sides):
        found.tested[(Kind.OUTPUT, Source.OURS)] += 1
        compare_values(
            found,
            (values[0], values[1]),
            below="",
            artifact=path,
            source=Source.OURS,
            explain=explain,
            executed=True,
        )


def _no_twin(documents: Documents, run_id: str, task: str | None, absent: SideName) -> Difference:
    where = run_id if absent == "primary" else documents.twin_name.replace(RUN, run_id)
    return Difference(
        run_id=run_id,
        task=task,
        artifact="",
        pointer="",
        kind=Kind.MISSING,
        absent=absent,
        source=Source.OURS,
        detail=f"there are no documents of {where}",
    )


def _primary_of(documents: Documents, shadow: _Run | None) -> str:
    match = documents.twin.fullmatch(shadow.name) if shadow is not None else None
    return match["run"] if match else ""


def _key_pattern(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\{run\}|\{task\})", pattern)
    words = {RUN: "(?P<run>[^/]+?)", TASK: "(?P<task>[^/]+?)"}
    return re.compile("".join(words.get(part) or glob(part).pattern for part in parts), re.DOTALL)
