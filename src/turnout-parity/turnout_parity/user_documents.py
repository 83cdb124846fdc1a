"""Parity of a team's own JSON documents, whatever their schema."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from turnout.errors import ArtifactMissing, InvalidJson, InvalidSettings, TooLarge
from turnout.model.canonical import MAX_BYTES, parse
from turnout.model.documents import Source
from turnout.model.keys import valid_key
from turnout.model.storage import ArtifactBody, ArtifactEntry, GetResult
from turnout.ports.artifact_store import ArtifactStore
from turnout_parity.compare_steps import compare_values
from turnout_parity.counts import Counts
from turnout_parity.faults import SideName, invalid, missing
from turnout_parity.ignores import glob
from turnout_parity.pair_result import PairResult
from turnout_parity.report import Difference, Kind

RUN: Final = "{run}"
TASK: Final = "{task}"
BATCH: Final = 256
"""Documents requested together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPattern:
    """Which keys are documents, and how a twin is named; made by `documents_at`."""

    prefix: str
    """The text that all keys start with."""
    key: re.Pattern[str]
    """Captures `run`, and `task` where the pattern names one."""
    twin: re.Pattern[str]
    """Captures `run` in a shadow's name."""
    twin_name: str
    """A shadow's name, with `{run}` in place of the primary's."""


@dataclass(slots=True, kw_only=True)
class _RunFolder:
    """One run's documents, by their key without the run's name."""

    name: str
    task: str | None
    stored: dict[str, ArtifactEntry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenPair:
    """A pair with the documents that must be read to compare it."""

    result: PairResult
    unread: list[tuple[str, ArtifactEntry, ArtifactEntry]] = field(default_factory=list)


def documents_at(pattern: str, *, twin: str = "{run}-dryrun") -> DocumentPattern:
    """Read `--documents` and `--twin`; `InvalidSettings` says what is wrong with them."""
    if pattern.count(RUN) != 1 or pattern.count(TASK) > 1:
        raise InvalidSettings(f"--documents {pattern!r}: write {RUN} once, and {TASK} at most once")
    if "*" in pattern.partition(RUN)[0]:
        raise InvalidSettings(f"--documents {pattern!r}: no * before {RUN}, so that runs stream by")
    if twin.count(RUN) != 1 or twin == RUN or "/" in twin:
        raise InvalidSettings(f"--twin {twin!r}: write {RUN} once with something beside it, no /")
    return DocumentPattern(
        prefix=re.split(r"\{task\}|\{run\}", pattern)[0],
        key=_key_pattern(pattern),
        twin=re.compile(re.escape(twin).replace(re.escape(RUN), "(?P<run>.+)")),
        twin_name=twin,
    )


async def compare_user_documents(
    store: ArtifactStore,
    pattern: DocumentPattern,
    counts: Counts,
    progress: Callable[[int], None],
) -> None:
    """Compare every pair of documents and count it.

    Equal size and ETag decide; only other documents are read. A run waits in memory until its twin
    is listed: at once where the twin's name has a suffix, else up to the end of the listing.
    """
    batch: list[_OpenPair] = []
    pairs_seen = 0
    async for primary, shadow in _pairs(store, pattern, counts):
        pairs_seen += 1
        batch.append(_compare_listings(pattern, primary, shadow))
        if sum(len(pair.unread) for pair in batch) >= BATCH or len(batch) >= BATCH:
            await _compare_batch(store, batch, counts)
            batch = []
            progress(pairs_seen)
    await _compare_batch(store, batch, counts)
    progress(pairs_seen)


async def _pairs(
    store: ArtifactStore, pattern: DocumentPattern, counts: Counts
) -> AsyncIterator[tuple[_RunFolder | None, _RunFolder | None]]:
    """Pair runs; those without a twin come last."""
    unpaired: dict[tuple[str | None, str], _RunFolder] = {}
    async for run in _runs(store, pattern, counts):
        shadow = pattern.twin.fullmatch(run.name)
        twin_name = shadow["run"] if shadow else pattern.twin_name.replace(RUN, run.name)
        twin = unpaired.pop((run.task, twin_name), None)
        if twin is None:
            unpaired[run.task, run.name] = run
        else:
            yield (twin, run) if shadow else (run, twin)
    for run in unpaired.values():
        yield (None, run) if pattern.twin.fullmatch(run.name) else (run, None)


async def _runs(
    store: ArtifactStore, pattern: DocumentPattern, counts: Counts
) -> AsyncIterator[_RunFolder]:
    run: _RunFolder | None = None
    async for page in store.pages(pattern.prefix):
        for stored in page:
            match = pattern.key.fullmatch(stored.key)
            if match is None or not valid_key(stored.key):
                counts.totals["junk"] += 1
                continue
            name, task = match["run"], match.groupdict().get("task")
            if run is None or (run.name, run.task) != (name, task):
                if run is not None:
                    yield run
                run = _RunFolder(name=name, task=task)
            path = stored.key[match.end("run") :].lstrip("/")
            run.stored[path or stored.key] = stored
    if run is not None:
        yield run


def _compare_listings(
    pattern: DocumentPattern, primary: _RunFolder | None, shadow: _RunFolder | None
) -> _OpenPair:
    """Compare sizes and ETags of the listing; collect the documents that must be read."""
    documents, twins = (run.stored if run is not None else {} for run in (primary, shadow))
    run_id = primary.name if primary is not None else _primary_of(pattern, shadow)
    task = (primary or shadow or _RunFolder(name="", task=None)).task
    result = PairResult(run_id=run_id, task=task, documents=len(documents) + len(twins))
    pair = _OpenPair(result=result)
    if primary is None or shadow is None:
        result.twin_missing = True
        absent: SideName = "primary" if primary is None else "shadow"
        result.differences.append(_missing_twin(pattern, run_id, task, absent))
        return pair
    for path in sorted(documents.keys() | twins.keys()):
        document, twin = documents.get(path), twins.get(path)
        if document is None or twin is None:
            result.reject([missing("primary" if document is None else "shadow", path)])
        elif document.size == twin.size and document.etag and document.etag == twin.etag:
            result.count(Kind.OUTPUT)
        else:
            pair.unread.append((path, document, twin))
    return pair


async def _compare_batch(store: ArtifactStore, batch: list[_OpenPair], counts: Counts) -> None:
    outcomes = store.get_many(_keys(batch))
    for pair in batch:
        for path, _, _ in pair.unread:
            bodies = (await anext(outcomes))[1], (await anext(outcomes))[1]
            pair.result.fetched += 2
            _compare_bodies(pair.result, path, bodies)
        counts.add(pair.result)


def _keys(batch: list[_OpenPair]) -> Iterator[str]:
    for pair in batch:
        for _, document, twin in pair.unread:
            yield document.key
            yield twin.key


def _compare_bodies(result: PairResult, path: str, bodies: tuple[GetResult, GetResult]) -> None:
    if all(isinstance(body, ArtifactBody) for body in bodies) and bodies[0] == bodies[1]:
        result.count(Kind.OUTPUT)
        return
    values: list[Any] = []
    sides: tuple[SideName, SideName] = ("primary", "shadow")
    for side, outcome in zip(sides, bodies, strict=True):
        try:
            if not isinstance(outcome, ArtifactBody):
                raise outcome
            values.append(parse(outcome.body, max_bytes=MAX_BYTES))
        except ArtifactMissing:  # removed since it was listed
            result.reject([missing(side, path)])
        except (InvalidJson, TooLarge) as error:
            result.reject([invalid(side, path, error)])
    if len(values) == len(sides):
        result.count(Kind.OUTPUT)
        compare_values(
            result,
            *values,
            artifact=path,
            source=Source.RECORDED,
            executed=True,
        )


def _missing_twin(
    pattern: DocumentPattern, run_id: str, task: str | None, absent: SideName
) -> Difference:
    name = run_id if absent == "primary" else pattern.twin_name.replace(RUN, run_id)
    return Difference(
        run_id=run_id,
        task=task,
        artifact="",
        pointer="",
        kind=Kind.MISSING,
        absent=absent,
        source=Source.RECORDED,
        detail=f"there are no documents of {name}",
    )


def _primary_of(pattern: DocumentPattern, shadow: _RunFolder | None) -> str:
    match = pattern.twin.fullmatch(shadow.name) if shadow is not None else None
    return match["run"] if match else ""


def _key_pattern(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\{run\}|\{task\})", pattern)
    words = {RUN: "(?P<run>[^/]+?)", TASK: "(?P<task>[^/]+?)"}
    return re.compile("".join(words.get(part) or glob(part).pattern for part in parts), re.DOTALL)
