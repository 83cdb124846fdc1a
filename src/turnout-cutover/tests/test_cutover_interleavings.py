"""Two operators at once, each killed between any two commits: routes are whole, and so is why."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from enum import Enum
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from turnout_cutover.changes import Action, Entry, Signature
from turnout_cutover.moving import MoveRequest, move
from turnout_cutover.operations import Operations
from turnout_cutover.outcome import Stopped
from turnout_cutover.overview import overview
from turnout_cutover.rolling_back import roll_back, rollback_request
from turnout_cutover.route_log import RouteLog, route_log
from turnout_cutover.stages import default_route, is_forward, read_target, same_place, skipped

from tests.operated_service import T0, LeapingClock, Service, replica
from turnout.model.routing import DUAL, Route, Selection, choose
from turnout.stores.sql import open_run_store

FLAG = "dual acme bolt"
TASKS = ("order", "report")


class Fate(Enum):
    """What becomes of an operator's next word with the run store."""

    GOES_ON = "goes on"
    KILLED_BEFORE = "killed before it"
    KILLED_AFTER = "killed after it"


class Killed(Exception):
    """The command's process is gone."""


class Turns:
    """Lets one operator at a time have a word with the run store."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[Fate]] = {}

    async def take(self, operator: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """Wait for the turn, and take it."""
        turn = self.waiting[operator] = asyncio.get_running_loop().create_future()
        fate = await turn
        if fate is Fate.KILLED_BEFORE:
            raise Killed
        result = await work()
        if fate is Fate.KILLED_AFTER:
            raise Killed
        return result


class TurnLog(RouteLog):
    """The routes and their history, in turns."""

    def __init__(self, log: RouteLog, turns: Turns, operator: str) -> None:
        super().__init__(log.committer)
        self._turns = turns
        self._operator = operator

    async def routes(self) -> Any:
        """Read."""
        return await self._turns.take(self._operator, super().routes)

    async def change(self, *arguments: Any) -> Any:
        """Commit."""
        commit = super().change
        return await self._turns.take(self._operator, lambda: commit(*arguments))

    async def note(self, *arguments: Any) -> Any:
        """Commit."""
        commit = super().note
        return await self._turns.take(self._operator, lambda: commit(*arguments))


Command = tuple[str, tuple[str, ...], bool]
"""What is asked for, of which tasks, and whether with an override."""

COMMANDS = st.tuples(
    st.sampled_from(["old", "dual", "ramp:10", "ramp:60", "new", "rollback", "stay", "unpin"]),
    st.sampled_from([("order",), ("report",), TASKS]),
    st.booleans(),
)
FATES = st.sampled_from([*[Fate.GOES_ON] * 6, Fate.KILLED_BEFORE, Fate.KILLED_AFTER])


@asynccontextmanager
async def opened_app(service: Service) -> AsyncIterator[Any]:
    """Give as much of an app as is verified: it has no schedules."""
    yield SimpleNamespace(store=service.store, clock=service.clock, callers={})


async def run(service: Service, operations: Operations, operator: str, command: Command) -> None:
    """Do what an operator types; a refusal and a kill are ends, too."""
    word, tasks, overrides = command
    signature = Signature(operator=operator, reason=word)
    override = "because" if overrides else None
    try:
        if word == "rollback":
            request = rollback_request(operations, tasks, signature, override=override)
            await roll_back(operations, request, lambda: opened_app(service))
        elif word in ("stay", "unpin"):
            pin = MoveRequest(
                tasks=tasks, stay=word == "stay", action=Action(word), signature=signature
            )
            await move(operations, pin)
        else:
            request = MoveRequest(
                tasks=tasks, target=read_target(word), override=override, signature=signature
            )
            await move(operations, request)
    except (Stopped, Killed):
        pass


def check(routes: dict[str, Route], entries: Sequence[Entry]) -> None:
    """Assert that the rows, one over the other, lead to the routes, each step with its right."""
    default = default_route(FLAG)
    assert default is not None
    state: dict[str, Route] = {}
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    for entry in entries:
        if entry.routes is None:
            assert entry.detail["change"] == state[entry.task].generation
            continue
        before, after = entry.routes
        assert before == state.get(entry.task, default)
        assert after.generation == entry.number
        assert {after.old, after.new} == {"acme", "bolt"}
        passed_over = is_forward(before, after) and skipped(before, after)
        moved_pin = before.stay and not same_place(replace(before, stay=after.stay), after)
        assert "override" in entry.detail or not (passed_over or moved_pin)
        state[entry.task] = after
    assert state == routes
    selection = Selection(provider=DUAL, primary="acme", shadow="bolt")
    for task in TASKS:
        providers = {choose(selection, routes, task=task, sticky="one").provider for _ in range(3)}
        assert len(providers) == 1


async def play(rounds: Sequence[tuple[Command, Command]], draw: Callable[[Any], Any]) -> None:
    """Let two operators type, in turns that are drawn; check after each; then go back."""
    store, clock = open_run_store("sqlite://"), LeapingClock()
    service = Service(store, route_log(store), clock, [replica("r1"), replica("r2")])
    clock.meanwhile = service.follow
    await store.flags.join(FLAG, T0)
    await service.follow()
    for commands in rounds:
        await both(service, commands, draw)
    await service.follow()
    operations = service.operations()
    last = rollback_request(
        operations, TASKS, Signature(operator="ben", reason="end"), override="x"
    )
    await roll_back(operations, last, lambda: opened_app(service))
    end = await overview(operations)
    assert [task.route and task.route.stage for task in end.tasks] == ["old", "old"]
    assert end.clean
    await store.close()


async def both(
    service: Service, commands: tuple[Command, Command], draw: Callable[[Any], Any]
) -> None:
    """Run two commands at once."""
    turns = Turns()
    running = {
        operator: asyncio.create_task(
            run(
                service,
                service.operations(log=TurnLog(service.log, turns, operator)),
                operator,
                command,
            )
        )
        for operator, command in zip(("anna", "ben"), commands, strict=True)
    }
    while True:
        for operator, task in running.items():
            while not (task.done() or operator in turns.waiting):
                await asyncio.sleep(0)
        if not turns.waiting:
            break
        operator = draw(st.sampled_from(sorted(turns.waiting)))
        turns.waiting.pop(operator).set_result(draw(FATES))
        while not (running[operator].done() or operator in turns.waiting):
            await asyncio.sleep(0)
        entries = list(reversed(await service.log.history(limit=1_000)))
        check(dict(await service.log.routes()), entries)
    await asyncio.gather(*running.values())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(COMMANDS, COMMANDS), min_size=1, max_size=5), st.data())
def test_any_order_of_two_operators_and_kills_keeps_the_promises(
    rounds: list[tuple[Command, Command]], data: st.DataObject
) -> None:
    """No change is lost or doubled, none passes over a stage unsaid, and back always works."""
    asyncio.run(play(rounds, data.draw))
