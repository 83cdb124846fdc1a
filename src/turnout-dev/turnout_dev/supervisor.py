"""Child processes: started, waited for until they answer, started again when they die, stopped."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from turnout.errors import Unavailable
from turnout.web.port import in_use
from turnout_dev.devserver import Process

TRIES = 5
"""How often a process that is killed as it starts is started again."""

GRACE = 8.0
"""Seconds between asking a process to stop and killing it."""


class Child:
    """One running process, in a group of its own, so that nothing it starts outlives it."""

    def __init__(self, process: Process, folder: Path) -> None:
        self.process = process
        self.log = folder / f"{process.name}.log"
        self._child: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and return when it answers; Unavailable says where its log is.

        Its port must be free: else another process would answer in its place.
        """
        port = urlsplit(self.process.ready_url or "").port
        if self.process.answers and port is not None and in_use(port):
            raise Unavailable(f"{self.process.name}: port {port} is in use")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *self.process.argv,
                env={**os.environ, **self.process.environ},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        if self.process.ready_url is not None:
            await self._answers(self.process.ready_url)

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._child is not None and self._child.returncode is None

    @property
    def killed(self) -> bool:
        """Whether a signal ended it."""
        code = None if self._child is None else self._child.returncode
        return code is not None and code < 0

    async def ended(self) -> None:
        """Return when it has ended."""
        if self._child is not None:
            await self._child.wait()

    async def kill(self) -> None:
        """Kill it, and all that it started, without a warning."""
        await self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to stop; kill what does not."""
        await self._signal(signal.SIGTERM)

    async def _signal(self, sign: signal.Signals) -> None:
        if self._child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, sign)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._child.wait(), GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        await self._child.wait()

    async def _answers(self, url: str) -> None:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            for _ in range(int(self.process.ready_in / 0.05)):
                if not self.running:
                    break
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(url)).is_success and self.running:
                        return
                await asyncio.sleep(0.05)
        raise Unavailable(f"{self.process.name} does not answer; its log is {self.log}")


class Supervisor:
    """Keeps processes running: one that dies unasked is started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: dict[str, Child] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in reversed(list(self._children)):
            await self.stop(name)

    async def start(self, process: Process) -> Child:
        """Start a process, in place of one of the same name."""
        if process.name in self._children:
            await self.stop(process.name)
        child = Child(process, self._folder)
        self._children[process.name] = child
        await self._started(child)
        self._watches[process.name] = asyncio.create_task(self._watch(child))
        return child

    async def kill(self, name: str) -> None:
        """Kill a process without a warning; it is started again."""
        await self._children[name].kill()

    async def stop(self, name: str) -> None:
        """Stop a process, for good."""
        watch = self._watches.pop(name, None)
        if watch is not None:
            watch.cancel()
        child = self._children.pop(name, None)
        if child is not None:
            await child.stop()

    async def _started(self, child: Child) -> None:
        """Start it; one that is killed before it answers is started again."""
        for _ in range(TRIES):
            try:
                return await child.start()
            except Unavailable:
                if not child.killed:
                    raise
        raise Unavailable(f"{child.process.name} was killed {TRIES} times as it started")

    async def _watch(self, child: Child) -> None:
        while True:
            await child.ended()
            with contextlib.suppress(Unavailable):
                await self._started(child)
            await asyncio.sleep(0.2)


def die_with_parent() -> None:
    """Have the kernel stop the child when this process is killed; only Linux offers it."""
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)


def free_port() -> int:
    """Find a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
