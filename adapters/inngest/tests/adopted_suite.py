"""Runs the official SDK's own function tests natively and adopted, and compares them.

    [TURNOUT_INNGEST_URL=http://127.0.0.1:8288] python adapters/inngest/tests/adopted_suite.py
        CHECKOUT [--backend local] [--kind async|sync] [--only CASE …] [--json FILE]

CHECKOUT is a checkout of inngest/inngest-py; nothing in it is changed or copied. Each case of
`tests/test_inngest/test_function/cases` makes its functions twice: once they are served to the
offline server (or a real one that the environment names, one without keys) as the SDK serves them,
once `adopt` makes tasks of them on the backend. Both times
the case's own assertions run, unchanged: events go to the address that the client is given, and
what the case asks the vendor's server for is answered from Turnout's run store. Beyond that,
status, output or error, step ids and attempts of each run that the case looks at are compared.

Turnout keeps an error's name and message; its vendor code and its traceback are filled in from the
native run before the assertions see them.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import fastapi
import httpx
import inngest
import inngest.fast_api
import orjson

sys.path.insert(0, str(Path(__file__).parent))

from inngest_lab import free_port, serving
from starlette.applications import Starlette
from starlette.routing import Mount
from turnout_inngest.adoption import Adopted, adopt
from turnout_inngest.adoption.task_errors import ENDS_THE_RUN
from turnout_inngest.ingress import Door
from turnout_inngest_double.app import create_app
from turnout_inngest_double.options import Options
from turnout_testing.backends import open_backend
from turnout_testing.conformance.world import World

from turnout.errors import InvalidDefinition, UnknownRun
from turnout.model.status import RunStatus

PATIENCE = 60.0
REAL = "TURNOUT_INNGEST_URL"
REPEATED = re.compile(r" \(\d+\)$")
VOLATILE = re.compile(r"[0-9a-hjkmnp-tv-z]{26}|[0-9a-f-]{36}", re.IGNORECASE)
"""Ids that two runs of one function never share."""
HOUR_MS = 3_600_000
STATUSES = {
    RunStatus.QUEUED: "RUNNING",
    RunStatus.RUNNING: "RUNNING",
    RunStatus.COMPLETED: "COMPLETED",
    RunStatus.FAILED: "FAILED",
    RunStatus.CANCELLED: "CANCELLED",
    RunStatus.TIMED_OUT: "CANCELLED",
}


@dataclass
class Seen:
    """One run as a case saw it. attempts: by step id, for steps that were run."""

    status: str
    output: Any
    steps: dict[str, int] = field(default_factory=dict)


@dataclass
class Result:
    """How a case went on one side."""

    verdict: str
    why: str = ""
    runs: list[Seen] = field(default_factory=list)


def main() -> None:
    """Run both sides, print the table, and exit 1 where they differ."""
    given = _arguments()
    _reach(given.checkout)
    results = asyncio.run(_both(given))
    differ = _print(results)
    if given.json:
        told = {name: [asdict(each) for each in sides] for name, sides in results.items()}
        Path(given.json).write_text(json.dumps(told, indent=1, default=str))
    sys.exit(1 if differ else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--backend", default="local")
    parser.add_argument("--kind", choices=["async", "sync"], default="async")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json")
    return parser.parse_args()


def _reach(checkout: Path) -> None:
    """Make the checkout's tests importable; they find the server by the environment."""
    for part in ("pkg/test_core", "pkg/inngest_encryption", "tests"):
        sys.path.insert(0, str(checkout.resolve() / part))
    os.environ["DEV_SERVER_ENABLED"] = "0"
    os.environ["DEV_SERVER_PORT"] = str(urlsplit(os.environ.get(REAL, "")).port or free_port())
    os.environ.setdefault("SSL_CERT_DIR", tempfile.gettempdir())


async def _both(given: argparse.Namespace) -> dict[str, tuple[Result, Result]]:
    native = await _natively(given)
    adopted = await _adopted(given, native)
    return {name: (native[name], adopted[name]) for name in native}


def _cases(client: inngest.Inngest, given: argparse.Namespace) -> list[Any]:
    from inngest._internal import server_lib
    from test_inngest.test_function import cases

    make = cases.create_sync_cases if given.kind == "sync" else cases.create_async_cases
    found = make(client, server_lib.Framework.FAST_API)
    return [each for each in found if not given.only or each.name in given.only]


def _functions(case: Any) -> list[inngest.Function[Any]]:
    return case.fn if isinstance(case.fn, list) else [case.fn]


def _client(url: str) -> inngest.Inngest:
    return inngest.Inngest(
        app_id="cases", is_production=False, api_base_url=url, event_api_base_url=url
    )


# -- natively -----------------------------------------------------------------------------------


async def _natively(given: argparse.Namespace) -> dict[str, Result]:
    port = int(os.environ["DEV_SERVER_PORT"])
    url = f"http://127.0.0.1:{port}"
    client = _client(url)
    cases = _cases(client, given)
    app = fastapi.FastAPI()
    inngest.fast_api.serve(app, client, [each for case in cases for each in _functions(case)])
    async with _server(port), httpx.AsyncClient(base_url=url) as api:
        at = free_port()
        async with serving(app, at):
            (await api.put(f"http://127.0.0.1:{at}/api/inngest")).raise_for_status()
            return {case.name: await _native(case, client, api) for case in cases}


@contextlib.asynccontextmanager
async def _server(port: int) -> AsyncIterator[None]:
    """Have the vendor's server: the offline one, unless a real one is named."""
    if os.environ.get(REAL):
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        options = Options(port=port, data=Path(folder), retry_interval_s=1)
        async with serving(create_app(options), port):
            yield


async def _native(case: Any, client: inngest.Inngest, api: httpx.AsyncClient) -> Result:
    from test_core import helper

    looked: list[str] = []
    helper.client = _Listening(helper._Client(), looked)
    verdict = await _tried(case, client)
    runs = [await _native_run(api, run_id) for run_id in dict.fromkeys(looked)]
    return Result(*verdict, runs=runs)


async def _native_run(api: httpx.AsyncClient, run_id: str) -> Seen:
    async with asyncio.timeout(PATIENCE):
        while not (run := (await api.get(f"/v1/runs/{run_id}")).json()["data"])["ended_at"]:
            await asyncio.sleep(0.5)  # a real server keeps its answers for seconds
    answer = await api.get(f"/v2/runs/{run_id}/trace?includeOutput=true")
    children = answer.json()["data"]["rootSpan"].get("children", [])
    output = _told(run.get("output"))
    counts: Counter[str] = Counter()
    for step in dict.fromkeys(each["stepId"] for each in children if each.get("stepId")):
        spans = [each for each in children if each.get("stepId") == step]
        planned = all(each["status"] == "WAITING" for each in spans)
        if not planned and not _ended_by(output, _error_of(spans)):
            counts[_name_of(spans)] += max(map(_tries, spans))
    return Seen(status=run["status"].upper(), output=output, steps=dict(counts))


def _name_of(spans: Sequence[dict[str, Any]]) -> str:
    """Name a step; a span whose first attempt never came to it is named otherwise."""
    names = [each["name"] for each in spans]
    return str(next((each for each in names if each != "Finalization"), names[0]))


def _tries(span: dict[str, Any]) -> int:
    """Count the attempts that came to a step; those of the code before it are nobody's."""
    tries = span.get("children", [])
    return len([each for each in tries if each.get("stepId")] or tries) or 1


def _error_of(spans: Sequence[dict[str, Any]]) -> str | None:
    """Name the error of a step that failed for good."""
    failed = [each for each in spans if each.get("status") == "FAILED"]
    output = failed[0].get("output") if len(failed) == len(spans) else None
    error = output.get("error") if isinstance(output, dict) else None
    return error.get("name") if isinstance(error, dict) else None


def _ended_by(output: Any, error: str | None) -> bool:
    """Whether a step's request is the one that failed the run, and so no step's own."""
    return error is not None and isinstance(output, dict) and output.get("name") == error


class _Listening:
    """The tests' client of the vendor's server, and which runs it was asked for."""

    def __init__(self, inner: Any, looked: list[str]) -> None:
        self._inner = inner
        self._looked = looked

    async def wait_for_run_status(self, run_id: str, *args: Any, **options: Any) -> Any:
        self._looked.append(run_id)
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self._inner.wait_for_run_status(run_id, *args, **options)
                if found.status.value != "FAILED" or found.output is not None:
                    return found
                await asyncio.sleep(0.2)  # a real server tells the end before the error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


# -- adopted ------------------------------------------------------------------------------------


async def _adopted(given: argparse.Namespace, native: dict[str, Result]) -> dict[str, Result]:
    port = free_port()
    client = _client(f"http://127.0.0.1:{port}")
    results: dict[str, Result] = {}
    taken: list[tuple[Any, Adopted]] = []
    cases = _cases(client, given)
    for case in cases:
        try:
            taken.append((case, adopt(client, _functions(case), backoff="1s")))
        except InvalidDefinition as error:
            lost = [line.strip().split(" (/")[0] for line in str(error).splitlines()[1:-1]]
            results[case.name] = Result("refused", "; ".join(lost))
    if taken:
        tasks = [task for _, adopted in taken[1:] for task in adopted.tasks]
        app = taken[0][1].app("cases-turnout", tasks=tasks)
        async with open_backend(given.backend, app=app) as world, _door(world, port):
            for case, _ in taken:
                expected = native[case.name].runs
                results[case.name] = await _on_turnout(case, client, world, expected)
    return results


@contextlib.asynccontextmanager
async def _door(world: World, port: int) -> AsyncIterator[None]:
    door = Door(["NO_EVENT_KEY_SET"], lambda events: world.orchestrator.emit(*events), world.clock)
    async with serving(Starlette(routes=[Mount("/e", door.application())]), port):
        yield


async def _on_turnout(
    case: Any, client: inngest.Inngest, world: World, expected: list[Seen]
) -> Result:
    from test_core import helper

    reader = _Reader(world, helper, expected)
    helper.client = reader
    verdict = await _tried(case, client)
    runs = [await reader.seen(run_id) for run_id in dict.fromkeys(reader.looked)]
    return Result(*verdict, runs=runs)


class _Reader:
    """Answers what the tests ask the vendor's server, from the run store."""

    def __init__(self, world: World, helper: Any, expected: Sequence[Seen]) -> None:
        self._world = world
        self._helper = helper
        self._expected = expected
        self._loop = asyncio.get_running_loop()
        self.looked: list[str] = []

    async def wait_for_run_status(self, run_id: str, expected: Any, *, timeout: int = 20) -> Any:
        if run_id not in self.looked:
            self.looked.append(run_id)
        async with asyncio.timeout(timeout * 2):
            while True:
                seen = await self._in_loop(self.seen(run_id))
                if seen is not None and seen.status == expected.value:
                    break
                if seen is not None and seen.status != "RUNNING":
                    raise AssertionError(f"run ended as {seen.status}: {seen.output}")
                await asyncio.sleep(0.05)
        output = self._filled(run_id, seen)
        event = inngest.Event(name="unknown")
        return SimpleNamespace(event=event, id=run_id, output=output, status=expected)

    async def get_step_output(self, *, run_id: str, step_id: str, index: int | None = None) -> str:
        journal = await self._in_loop(self._world.store.journals.load(run_id))
        name = step_id if not index else f"{step_id} ({index})"
        step = journal.steps[name]
        return json.dumps({"data": orjson.loads(step.output or b"null")})

    async def get_run_ids_from_event_id(self, event_id: str, **_: Any) -> list[str]:
        raise AssertionError(f"not answered: the runs of event {event_id}")

    async def seen(self, run_id: str) -> Seen | None:
        try:
            journal = await self._world.store.journals.load(run_id)
        except UnknownRun:
            return None
        run = journal.run
        output = None if run.result is None else orjson.loads(run.result)
        if run.error is not None:
            output = {"name": run.error.name, "message": run.error.message}
        return Seen(status=STATUSES[run.state], output=output, steps=_counted(journal))

    def _filled(self, run_id: str, seen: Seen) -> str | None:
        """Add what Turnout does not keep of an error, and only that."""
        place = self.looked.index(run_id)
        before = self._expected[place].output if place < len(self._expected) else None
        if seen.status == "FAILED" and isinstance(before, dict):
            return json.dumps({**before, **seen.output})
        return None if seen.status == "CANCELLED" else json.dumps(seen.output)

    async def _in_loop(self, work: Any) -> Any:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


def _counted(journal: Any) -> dict[str, int]:
    """Count each step's tries as on the native side; uses of one id count as one name."""
    found: Counter[str] = Counter()
    for name, step in journal.steps.items():
        ends = step.error is not None and step.error.name.endswith(ENDS_THE_RUN)
        if name.startswith("(function") or step.kind == "emit" or ends:
            continue
        used = REPEATED.sub("", name)
        own = used if used in journal.steps else name
        found[own] += max(len(journal.attempts.get(name, ())), 1)
    return dict(found)


# -- both ---------------------------------------------------------------------------------------


async def _tried(case: Any, client: inngest.Inngest) -> tuple[str, str]:
    """Run a case's own assertions, in a thread: they block."""
    told = SimpleNamespace(client=client, addCleanup=lambda *_, **__: None)

    async def bounded() -> None:
        await asyncio.wait_for(case.run_test(told), PATIENCE)

    try:
        await asyncio.to_thread(lambda: asyncio.run(bounded()))
    except Exception as error:  # noqa: BLE001 - a case may fail in any way
        return "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return "passed", ""


def _told(output: Any) -> Any:
    """Unwrap a run's output as the vendor shows it."""
    return json.loads(output) if isinstance(output, str) and output[:1] in '{["' else output


def _print(results: dict[str, tuple[Result, Result]]) -> int:
    """Print the table; how many cases differ."""
    counts: Counter[str] = Counter()
    for name, (native, adopted) in results.items():
        verdict, why = _compared(native, adopted)
        counts[verdict] += 1
        sys.stdout.write(f"{name:45} {native.verdict:8} {adopted.verdict:8} {verdict:10} {why}\n")
    sys.stdout.write(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + "\n")
    return counts["different"]


def _compared(native: Result, adopted: Result) -> tuple[str, str]:
    if adopted.verdict == "refused":
        return "refused", adopted.why
    if native.verdict != "passed":
        return "not native", native.why  # says nothing of adoption
    if adopted.verdict != native.verdict:
        return "different", adopted.why
    for before, after in zip(native.runs, adopted.runs, strict=False):
        if (before.status, _kept(before)) != (after.status, _kept(after)):
            return "different", f"{_kept(before)} became {_kept(after)}"
        if before.steps != after.steps:
            return "different", f"steps {before.steps} became {after.steps}"
    return "same", ""


def _kept(seen: Seen) -> Any:
    """What of an output both sides keep."""
    if seen.status == "FAILED" and isinstance(seen.output, dict):
        return {name: seen.output.get(name) for name in ("name", "message")}
    return _steady(seen.output) if seen.status == "COMPLETED" else None


def _steady(value: Any) -> Any:
    """Leave out of an output what differs between any two runs: ids that are drawn, and now."""
    if isinstance(value, dict):
        return {name: _steady(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_steady(each) for each in value]
    if isinstance(value, str) and VOLATILE.fullmatch(value):
        return "<id>"
    if isinstance(value, int) and abs(value - time.time() * 1_000) < HOUR_MS:
        return "<now>"
    return value


if __name__ == "__main__":
    main()
