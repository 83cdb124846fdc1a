"""The worker process: dequeues runs from the server and works on many of them at once."""

import asyncio
import contextlib
import logging
import uuid
from typing import Any

from turnout_triggerdev_double.standin.attempt import Tools, VendorRun
from turnout_triggerdev_double.standin.definition import Definition
from turnout_triggerdev_double.standin.http_client import HttpClient, NoResponse
from turnout_triggerdev_double.standin.server import ServerRefused, VendorServer
from turnout_triggerdev_double.standin.service import StepService
from turnout_triggerdev_double.standin.settings import StandInSettings
from turnout_triggerdev_double.standin.spans import Spans
from turnout_triggerdev_double.standin.watchdog import Watchdog

HEARTBEAT = 30.0
AGAIN_AFTER = 0.5
LONGEST_AWAY = 5.0
BETWEEN_POLLS = 0.25
LOOK_EVERY, LOOKS_A_SECOND = 1.0, 15
"""Seconds between reads of every run, when the server does not notify of changes; longer with many
runs, since a real server allows 40 such calls a second in total."""
log = logging.getLogger("turnout_triggerdev_double.standin")


class StandInRunner:
    """Registers the definition's tasks, then works until it is stopped."""

    def __init__(self, definition: Definition, settings: StandInSettings) -> None:
        self._definition = definition
        self._settings = settings
        self._runs: dict[str, VendorRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._free = asyncio.Event()
        self._polling = False
        self._watchdog: Watchdog | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then say goodbye to the server."""
        settings = self._settings
        service_url = settings.service or self._definition.service
        headers = {"authorization": f"Bearer {settings.secret_key}"}
        async with (
            HttpClient(settings.api_url, headers) as to_server,
            HttpClient(service_url) as to_service,
        ):
            self._watchdog = Watchdog(settings.api_url, settings.secret_key)
            owner = f"standin_{uuid.uuid4().hex[:16]}"
            server = VendorServer(to_server, settings.project, owner)
            spans = Spans(server)
            tools = Tools(
                definition=self._definition.digest,
                service_url=service_url,
                probes=frozenset(task.id for task in self._definition.tasks if task.probe),
                budgets={task.id: task.max_attempts for task in self._definition.tasks},
                server=server,
                service=StepService(to_service, settings.signing_keys),
                spans=spans,
            )
            helpers = [
                asyncio.create_task(self._listen(server)),
                asyncio.create_task(self._beat(server)),
                asyncio.create_task(spans.run()),
                asyncio.create_task(self._take_runs(tools)),
                asyncio.create_task(self._look_again()),
            ]
            stopping = asyncio.create_task(stop.wait())
            finished, _ = await asyncio.wait(
                [stopping, *helpers], return_when=asyncio.FIRST_COMPLETED
            )
            await self._goodbye(server, [stopping, *helpers, *self._tasks])
            for task in finished - {stopping}:
                task.result()

    async def _goodbye(self, server: VendorServer, tasks: list[asyncio.Task[Any]]) -> None:
        run_ids = list(self._runs)
        for task in tasks:
            if not task.done():
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if run_ids:
            with contextlib.suppress(NoResponse):
                await server.disconnect(run_ids)
        if self._watchdog is not None:
            self._watchdog.close()

    async def _take_runs(self, tools: Tools) -> None:
        worker = await self._register(tools.server)
        self._polling = not await tools.server.holds_polls()
        wait = AGAIN_AFTER
        while True:
            free = await self._free_slots()
            try:
                messages = await tools.server.dequeue(worker, free)
            except NoResponse as error:
                log.warning("the server is away", extra={"action": "dequeue", "error": str(error)})
                await asyncio.sleep(wait)
                wait = min(LONGEST_AWAY, wait * 2)
                worker = await self._register(tools.server)
                continue
            wait = AGAIN_AFTER
            for message in messages:
                self._begin(message, tools)
            if self._polling and not messages:
                await asyncio.sleep(BETWEEN_POLLS)

    async def _register(self, server: VendorServer) -> str:
        if not self._settings.registers:
            return ""
        wait = AGAIN_AFTER
        while True:
            try:
                worker = await server.register(self._definition)
            except NoResponse:
                await asyncio.sleep(wait)
                wait = min(LONGEST_AWAY, wait * 2)
                continue
            log.info("registered", extra={"action": "register", "worker": worker})
            return worker

    async def _free_slots(self) -> int:
        """How many runs may be taken now; waits until there is room for one.

        A run that waits keeps its place, as its process does at the vendor's CLI.
        """
        while (free := self._settings.concurrency - len(self._runs)) <= 0:
            self._free.clear()
            await self._free.wait()
        return free

    def _begin(self, message: dict[str, Any], tools: Tools) -> None:
        run = VendorRun(message, tools)
        if run.id in self._runs:
            return
        self._runs[run.id] = run
        self._watch()
        task = asyncio.create_task(run.work())
        self._tasks.add(task)
        task.add_done_callback(lambda finished: self._end(run, finished))

    def _end(self, run: VendorRun, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._runs.pop(run.id, None)
        self._watch()
        self._free.set()

    def _watch(self) -> None:
        if self._watchdog is not None:
            self._watchdog.watch(self._runs)

    async def _listen(self, server: VendorServer) -> None:
        """Stay connected; read all runs after every new connection."""
        while True:
            try:
                async for moved in server.moves():
                    for run in [self._runs.get(moved)] if moved else list(self._runs.values()):
                        if run is not None:
                            run.moved()
            except NoResponse as error:
                log.info("presence ended", extra={"action": "presence", "error": str(error)})
            await asyncio.sleep(AGAIN_AFTER)

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(max(LOOK_EVERY, len(self._runs) / LOOKS_A_SECOND))
            for run in list(self._runs.values()) if self._polling else ():
                run.moved()

    async def _beat(self, server: VendorServer) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            for run in list(self._runs.values()):
                with contextlib.suppress(NoResponse, ServerRefused):
                    await server.heartbeat(run.id, run.snapshot)
