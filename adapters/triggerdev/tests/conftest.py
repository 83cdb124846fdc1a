"""The offline server and the stand-in as processes, and a service that follows a script.

The service is a peer over real HTTP: it speaks the step protocol, and knows nothing of Turnout.
"""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from turnout_triggerdev.project import copied
from turnout_triggerdev_double.server.app import build
from turnout_triggerdev_double.server.clock import FrozenClock
from turnout_triggerdev_double.server.main import ACCESS_TOKEN, KEYS, PROJECT_REF, new_world
from turnout_triggerdev_double.server.rates import TokenBuckets, rate
from turnout_triggerdev_double.server.world import OfflineWorld

SIGNING_KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()
VERSION = {"x-trigger-api-version": "2025-07-16"}
DIGEST = "d" * 64
REAL_WORKER_IN = 120.0
"""Seconds in which the vendor's CLI builds and registers on a busy machine."""
NOW = 1_795_199_580_000


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The condition's first true value; a failure names it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        await asyncio.sleep(0.02)
    raise AssertionError(f"did not come true in {seconds} s: {condition}")


@asynccontextmanager
async def serving(
    app: Any, port: int, stop: Callable[[], None] = lambda: None
) -> AsyncIterator[str]:
    """The application on a real port, in this process; yields its origin."""
    config = uvicorn.Config(
        app, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started or task.done())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop()
        server.should_exit = True
        await task


# The scripted service


@dataclass(kw_only=True)
class Script:
    """One run's stages: `("steps", "a", "b")` in parallel, `("sleep", ms)`, `("event",)`."""

    stages: list[tuple[Any, ...]]
    seq: int = 1
    stage: int = 0
    state: str = "running"
    done: set[str] = field(default_factory=set)
    attempts: dict[str, int] = field(default_factory=dict)
    until: int | None = None
    token: str | None = None
    error: dict[str, str] | None = None
    says: bool = False

    def next(self) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "seq": self.seq,
            "state": self.state,
            "run": [],
            "park": None,
            "progress": {"done": len(self.done), "current": []},
        }
        if self.says:
            answer["progress"]["told"] = {"stage": self.stage}
        if self.state == "running" and self.stage >= len(self.stages):
            self.state = answer["state"] = "completed"
        if self.state == "completed":
            answer["result"] = {"sha256": "f" * 64}
        if self.state in {"failed", "timed_out"}:
            answer["error"] = self.error or {"name": "Boom", "message": "it broke"}
        if self.state == "running":
            self._stage(answer)
        return answer

    def _stage(self, answer: dict[str, Any]) -> None:
        kind, *rest = self.stages[self.stage]
        now = time.time_ns() // 1_000_000
        match kind:
            case "steps":
                open_steps = [step for step in rest if step not in self.done]
                answer["run"] = [
                    {
                        "step": step,
                        "index": index,
                        "attempt": self.attempts.get(step, 1),
                        "timeout_ms": None,
                        "label": f"{step} #{self.attempts.get(step, 1)}",
                    }
                    for index, step in enumerate(open_steps)
                ]
            case "sleep":
                if self.until is None:
                    self.until = now + rest[0]
                if self.until <= now:
                    self.forward()
                    answer.update(self.next())
                else:
                    answer["park"] = {"until": self.until, "reasons": ["sleep"]}
            case "event":
                answer["park"] = {"until": None, "reasons": ["event"]}

    def forward(self) -> None:
        self.stage += 1
        self.until = None
        self.seq += 1


class Peer:
    """The service: scripts by run id, and everything that was said to it."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}
        self.said: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.overrides: list[Callable[[dict[str, Any]], Response | None]] = []
        self.slow: dict[str, float] = {}
        self.executing = 0
        self.most_executing = 0
        self.hung_up: list[str] = []
        self.ticks: list[dict[str, Any]] = []
        self.ahead = 0

    def run(self, run_id: str, *stages: tuple[Any, ...]) -> Script:
        self.scripts[run_id] = Script(stages=list(stages))
        return self.scripts[run_id]

    def ops(self, run_id: str) -> list[str]:
        return [each["op"] for each in self.said if each.get("run_id") == run_id]

    def asked(self, run_id: str) -> list[str]:
        """What was asked for a run, without the reports."""
        return [op for op in self.ops(run_id) if op != "report"]

    def events(self, run_id: str) -> list[str]:
        """The reports on a run, in order."""
        said = [each for each in self.said if each.get("run_id") == run_id]
        return [each["event"] for each in said if each["op"] == "report"]

    async def take(self, request: Request) -> Response:
        body = await request.body()
        Webhook(SIGNING_KEY).verify(body, dict(request.headers))
        message = json.loads(body)
        self.said.append(message)
        self.headers.append(dict(request.headers))
        for override in self.overrides:
            answer = override(message)
            if answer is not None:
                return answer
        return await self._answer(request, message)

    async def _answer(self, request: Request, message: dict[str, Any]) -> Response:
        if message["op"] == "tick":
            self.ticks.append(message)
            return JSONResponse({"run_id": "r-tick", "reason": "started"})
        if message["op"] == "probe":
            return JSONResponse({"at": time.time_ns() // 1_000_000 + self.ahead})
        return await self._run_answer(request, self.scripts[message["run_id"]], message)

    async def _run_answer(
        self, request: Request, script: Script, message: dict[str, Any]
    ) -> Response:
        match message["op"]:
            case "advance":
                return JSONResponse(script.next())
            case "execute":
                return await self._execute(request, script, message)
            case "park":
                if message["seq"] != script.seq:
                    return JSONResponse({"go": False, "next": script.next()})
                script.token = message["token"]
                return JSONResponse({"go": True})
            case _:
                return Response(status_code=202)

    async def _execute(self, request: Request, script: Script, message: dict[str, Any]) -> Response:
        step = message["step"]
        self.executing += 1
        self.most_executing = max(self.most_executing, self.executing)
        try:
            end = time.monotonic() + self.slow.get(step, 0.0)
            while time.monotonic() < end:
                await asyncio.sleep(0.02)
                if await request.is_disconnected():
                    self.hung_up.append(step)
                    return Response(status_code=499)
        finally:
            self.executing -= 1
        script.done.add(step)
        _, *steps = script.stages[script.stage]
        script.seq += 1
        if set(steps) <= script.done:
            script.forward()
        receipt = {
            "step": step,
            "attempt": message["attempt"],
            "outcome": "completed",
            "duration_ms": 1,
        }
        return JSONResponse({"receipt": receipt, "next": script.next()})

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/turnout/v1/step", self.take, methods=["POST"])])


# The offline server and the stand-in, as processes


class Api:
    """A client of the offline server."""

    def __init__(self, url: str, key: str = KEYS["dev"]) -> None:
        self.url = url
        self.client = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {key}", **VERSION},
            timeout=20,
            verify=False,
        )

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        return await self.client.request(method, path, content=content, **more)

    async def get(self, path: str) -> Any:
        return (await self.call("GET", path)).json()

    async def post(self, path: str, body: Any = None) -> Any:
        return (await self.call("POST", path, body if body is not None else {})).json()

    async def trigger(self, task: str, payload: Any = None, **options: Any) -> str:
        body = {"payload": payload if payload is not None else {}, "options": options}
        return str((await self.post(f"/api/v1/tasks/{task}/trigger", body))["id"])

    async def deliver(self, run_id: str, task: str = "work", **options: Any) -> str:
        payload = {"run_id": run_id, "delivery": 1, "task": task, "protocol": 1}
        return await self.trigger(task, payload, **options)

    async def run(self, run: str) -> Any:
        return await self.get(f"/api/v3/runs/{run}")

    async def ended(self, run: str, seconds: float = 60.0) -> Any:
        async def look() -> Any:
            seen = await self.run(run)
            words = {"QUEUED", "DELAYED", "PENDING_VERSION", "DEQUEUED", "EXECUTING", "WAITING"}
            return None if seen["status"] in words else seen

        return await until(look, seconds)


@dataclass(kw_only=True)
class Started:
    """A process that a test may stop or kill."""

    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def started(*argv: str, env: dict[str, str] | None = None) -> Iterator[Started]:
    """A Python process that ends with the block."""
    process = subprocess.Popen([sys.executable, *argv], env={**os.environ, **(env or {})})
    running = Started(process=process)
    try:
        yield running
    finally:
        running.stop()


def start_server(port: int, data: Path, *more: str) -> Any:
    """The offline server as a process."""
    argv = [
        "-m",
        "turnout_triggerdev_double.server",
        "--port",
        str(port),
        "--data",
        str(data),
        *more,
    ]
    return started(*argv)


async def server_is_up(url: str) -> None:
    """Return once the server answers."""

    async def look() -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{url}/double/health")).status_code == 200
        except httpx.HTTPError:
            return False

    await until(look)


def write_definition(folder: Path, service: str) -> Path:
    """A definition file of two tasks."""
    value = {
        "protocol": 1,
        "definition": DIGEST,
        "service": service,
        "tasks": [
            {"id": "work"},
            {"id": "tick", "schedule": True},
            {"id": "brief", "maxDuration": 5},
            {"id": "turnout-probe", "probe": True},
        ],
    }
    path = folder / "turnout.definition.json"
    path.write_text(json.dumps(value))
    return path


def start_standin(url: str, definition: Path, *more: str) -> Any:
    """The stand-in as a process."""
    env = {
        "TRIGGER_API_URL": url,
        "TRIGGER_SECRET_KEY": KEYS["dev"],
        "TRIGGER_PROJECT_REF": PROJECT_REF,
        "TURNOUT_SIGNING_KEYS": SIGNING_KEY,
    }
    argv = ["-m", "turnout_triggerdev_double.standin", "--definition", str(definition), *more]
    return started(*argv, env=env)


def start_real_worker(
    url: str, folder: Path, definition: Path, more: Mapping[str, str] | None = None
) -> Any:
    """The TypeScript worker, run by the vendor's CLI, as a process."""
    env = {
        **(more or {}),
        "TRIGGER_API_URL": url,
        "TRIGGER_SECRET_KEY": KEYS["dev"],
        "TRIGGER_ACCESS_TOKEN": ACCESS_TOKEN,
        "TRIGGER_PROJECT_REF": PROJECT_REF,
        "TURNOUT_SIGNING_KEYS": SIGNING_KEY,
    }
    options = ("--folder", str(folder / "worker"), "--definition", str(definition), "--keep")
    return started("-m", "turnout_triggerdev_double.nodeworker", *options, env=env)


async def worker_is_registered(api: Api, seconds: float = 60.0) -> None:
    """Return once a worker has registered and keeps its presence."""

    async def look() -> bool:
        found = await api.call("GET", f"/api/v1/projects/{PROJECT_REF}/dev/workers/current")
        status = await api.get(f"/api/v1/projects/{PROJECT_REF}/dev-status")
        return found.status_code == 200 and status["isConnected"]

    await until(look, seconds)


@dataclass(kw_only=True)
class Rig:
    """The server, a worker and the scripted service, running."""

    api: Api
    peer: Peer
    server: Started
    standin: Started
    port: int
    data: Path

    @asynccontextmanager
    async def another_server(self) -> AsyncIterator[None]:
        """The server again, on the same port and data."""
        with start_server(self.port, self.data):
            await server_is_up(self.api.url)
            yield


@asynccontextmanager
async def rigged(
    folder: Path, *, real: bool = False, more: Mapping[str, str] | None = None
) -> AsyncIterator[Rig]:
    """A whole rig in this folder, with the stand-in or the real worker; more: its environment."""
    peer, port, data = Peer(), free_port(), folder / "data"
    async with serving(peer.app(), free_port()) as service:
        definition = write_definition(folder, service)
        url = f"http://127.0.0.1:{port}"
        begin = partial(start_standin, url)
        if real:
            begin = partial(start_real_worker, url, folder, more=more)
        with start_server(port, data) as server, begin(definition) as standin:
            await server_is_up(url)
            api = Api(url)
            await worker_is_registered(api, REAL_WORKER_IN if real else 15.0)
            yield Rig(api=api, peer=peer, server=server, standin=standin, port=port, data=data)
            await api.client.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """One rig for all tests of a module."""
    async with rigged(tmp_path_factory.mktemp("rig")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real_worker_rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """One rig with the real worker for all tests of a module."""
    async with rigged(tmp_path_factory.mktemp("real"), real=True) as running:
        yield running


@pytest.fixture(scope="module")
def rig_with() -> Any:
    """Makes a rig with the real worker, whose source a function changes beforehand."""

    @asynccontextmanager
    async def start(
        folder: Path, change: Callable[[Path], None], environ: Mapping[str, str]
    ) -> AsyncIterator[Rig]:
        copied(folder / "worker", force=False)
        change(folder / "worker")
        async with rigged(folder, real=True, more=environ) as running:
            yield running

    return start


@pytest.fixture
def real_rig(real_worker_rig: Rig) -> Rig:
    """The module's rig, its peer with nothing said yet."""
    real_worker_rig.peer.__init__()  # type: ignore[misc]
    return real_worker_rig


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    """The module's rig, its peer with nothing said yet."""
    shared_rig.peer.__init__()  # type: ignore[misc]
    return shared_rig


@pytest_asyncio.fixture(loop_scope="module")
async def own_rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig that the test may break."""
    async with rigged(tmp_path) as running:
        yield running


_names = count(1)


@pytest.fixture
def rid() -> str:
    """A run id that no other test uses."""
    return f"r{next(_names)}"


@dataclass(kw_only=True)
class ServerProcess:
    """The offline server alone, as a process."""

    api: Api
    settings: dict[str, str]

    async def registered(self, seconds: float) -> None:
        """Return once a worker has registered."""

        async def look() -> bool:
            path = f"/api/v1/projects/{PROJECT_REF}/dev/workers/current"
            return (await self.api.call("GET", path)).status_code == 200

        await until(look, seconds)


@pytest.fixture(scope="module")
def server_process(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Starts the offline server as a process."""

    @asynccontextmanager
    async def start() -> AsyncIterator[ServerProcess]:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        settings = {
            "TRIGGER_ACCESS_TOKEN": ACCESS_TOKEN,
            "TRIGGER_SECRET_KEY": KEYS["dev"],
            "TRIGGER_PROJECT_REF": PROJECT_REF,
        }
        with start_server(port, tmp_path_factory.mktemp("server")):
            await server_is_up(url)
            api = Api(url)
            yield ServerProcess(api=api, settings=settings)
            await api.client.aclose()

    return start


# The offline server in this process, with a clock that tests turn


@dataclass(kw_only=True)
class Served:
    """A server under a frozen clock."""

    world: OfflineWorld
    api: Api
    url: str

    async def turn(self, seconds: float) -> None:
        await self.api.post("/double/clock", {"advanceMs": int(seconds * 1000)})

    async def register(self, *tasks: dict[str, Any], **metadata: Any) -> Any:
        full = [{"filePath": "src/tasks.ts", **task} for task in tasks]
        body = {"metadata": {"contentHash": "h", "tasks": full, **metadata}}
        return await self.api.post(f"/api/v1/projects/{PROJECT_REF}/background-workers", body)

    async def dequeue(self) -> list[dict[str, Any]]:
        body = {"currentWorker": "worker_x", "oldWorkers": []}
        answer = await self.api.post("/engine/v1/dev/dequeue", body)
        return list(answer["dequeuedMessages"])

    async def start(self, message: dict[str, Any]) -> Any:
        run, snapshot = message["run"]["friendlyId"], message["snapshot"]["friendlyId"]
        return await self.api.post(f"/engine/v1/dev/runs/{run}/snapshots/{snapshot}/attempts/start")

    async def begin(self) -> Any:
        """Take the one run that is due and start it."""
        (message,) = await self.dequeue()
        return await self.start(message)

    async def latest(self, run: str) -> Any:
        answer = await self.api.get(f"/engine/v1/dev/runs/{run}/snapshots/latest")
        return answer["execution"]

    async def complete(self, begun: Any, **completion: Any) -> Any:
        run = begun["run"]["friendlyId"]
        snapshot = (await self.latest(run))["snapshot"]["friendlyId"]
        path = f"/engine/v1/dev/runs/{run}/snapshots/{snapshot}/attempts/complete"
        body = {"completion": {"id": run, "ok": True, **completion}}
        return (await self.api.post(path, body))["result"]


@asynccontextmanager
async def served(
    data: Path | None = None, limit: str = "off", **more: Any
) -> AsyncIterator[Served]:
    """A server in this process, its clock frozen."""
    port = free_port()
    world = new_world(
        url=f"http://127.0.0.1:{port}",
        data=data,
        clock=FrozenClock(NOW),
        **more,
    )
    app = build(world, TokenBuckets(rate(limit)), turnable=True)
    async with serving(app, port, world.stop) as url:
        api = Api(url)
        yield Served(world=world, api=api, url=url)
        await api.client.aclose()


class Switch:
    """One listening port for many worlds: each test puts its own application in."""

    def __init__(self) -> None:
        self.app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand over to the test's application."""
        if scope["type"] == "lifespan":
            await Starlette()(scope, receive, send)
        else:
            assert self.app is not None
            await self.app(scope, receive, send)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[tuple[Switch, str]]:
    """A port that listens for all tests of a module."""
    switch = Switch()
    async with serving(switch, free_port()) as url:
        yield switch, url


@pytest_asyncio.fixture(loop_scope="module")
async def offline(house: tuple[Switch, str]) -> AsyncIterator[Served]:
    """A fresh server under a frozen clock."""
    switch, url = house
    world = new_world(url=url, clock=FrozenClock(NOW))
    app = build(world, TokenBuckets(rate("off")), turnable=True)
    switch.app = app
    async with app.lifespan_context(app):
        api = Api(url)
        yield Served(world=world, api=api, url=url)
        await api.client.aclose()


@pytest.fixture
def served_with() -> Any:
    """Makes servers with settings of their own."""
    return served


@pytest.fixture
def port() -> int:
    """A port that nothing listens on."""
    return free_port()


@pytest.fixture
def scripted() -> Peer:
    """A scripted service that is not served yet."""
    return Peer()


@pytest.fixture
def listening() -> Any:
    """Puts an application on a real port."""

    def listen(app: Starlette, port: int | None = None) -> Any:
        return serving(app, port or free_port())

    return listen
