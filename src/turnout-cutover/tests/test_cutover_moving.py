"""A move changes a route once, leaves a row, and is refused with what is against it."""

from dataclasses import replace
from typing import Any

import pytest
from turnout_cutover.changes import Action, Signature
from turnout_cutover.moving import MoveRequest, move, summary
from turnout_cutover.operations import Operations
from turnout_cutover.outcome import Exit, Stopped
from turnout_cutover.stages import Target, read_target

from tests.operated_service import Service, replica
from turnout.errors import UnknownProvider, UnknownTask, WrongUse
from turnout.model.replicas import Replica
from turnout.model.routing import Route, Stage

ANNA = Signature(operator="anna", reason="wave 1", ticket="OPS-7")


def asked(to: str, *tasks: str, **options: Any) -> MoveRequest:
    """Make a request."""
    options = {"signature": ANNA, **options}
    return MoveRequest(tasks=tasks or ("order",), target=read_target(to), **options)


async def test_a_move_is_a_row_and_in_force_at_every_replica(service: Service) -> None:
    """Who, when, why, the ticket, before and after."""
    moved = await move(service.operations(), asked("ramp:25"))
    assert (moved.changed, moved.agreement.count) == (True, "2/2")
    assert (await service.log.routes())["order"] == Route(
        stage=Stage.RAMP, old="acme", new="bolt", percentage=25, generation=1
    )
    (entry,) = await service.log.history()
    assert (entry.number, entry.task, entry.action) == (1, "order", Action.MOVE)
    assert entry.signature == ANNA
    assert entry.at == moved.at
    assert entry.routes is not None
    assert [route.stage for route in entry.routes] == [Stage.DUAL, Stage.RAMP]
    assert "dual (acme → bolt) → ramp 25 % (acme → bolt) by anna" in summary(entry)


async def test_a_second_move_to_the_same_stage_changes_nothing(service: Service) -> None:
    """The history has one row, and the command says that the task is there."""
    for changed in (True, False):
        moved = await move(service.operations(), asked("ramp:25"))
        assert moved.changed is changed
        assert moved.proposals[0].in_place is not changed
    assert len(await service.log.history()) == 1


async def test_a_dry_run_changes_nothing(service: Service) -> None:
    """It says what would be."""
    moved = await move(service.operations(), asked("ramp:25", dry_run=True))
    assert (moved.changed, moved.proposals[0].after.stage) == (False, Stage.RAMP)
    assert await service.log.routes() == {}
    assert await service.log.history() == []


async def test_tasks_of_one_command_move_together(service: Service) -> None:
    """All or none, each with a number of its own."""
    await move(service.operations(), asked("ramp:5", "order", "report"))
    routes = await service.log.routes()
    assert [routes[task].generation for task in ("order", "report")] == [1, 2]
    await move(service.operations(), asked("old", "order"))
    with pytest.raises(Stopped):
        await move(service.operations(), asked("new", "order", "report"))
    routes = await service.log.routes()
    assert [routes[task].stage for task in ("order", "report")] == [Stage.OLD, Stage.RAMP]


@pytest.mark.parametrize(
    ("replicas", "text"),
    [
        ([], "no replica of the service is alive"),
        (
            [replica("r1"), replica("r2", provider="bolt")],
            "routes are ignored by 1 replica(s): r2 (ORCHESTRATOR_PROVIDER=bolt)",
        ),
        (
            [replica("r1", routes=None, version="0.9"), replica("r2", routes=9)],
            "1 replica(s): r1 (version 0.9 does not say which routes it has)",
        ),
        ([replica("r1", routes=0), replica("r2", routes=9)], "1 replica(s): r1 (change 0)"),
    ],
    ids=["none is alive", "an absolute flag", "an older release", "an older copy"],
)
async def test_a_move_that_replicas_would_not_follow_is_refused(
    service: Service, replicas: list[Replica], text: str
) -> None:
    """The replicas are named, nothing is changed; an override is kept with what it overrode."""
    await move(service.operations(), asked("ramp:25"))
    service.replicas = replicas
    service.clock.meanwhile = service.beat
    service.clock.time += 60_000
    await service.beat()
    with pytest.raises(Stopped) as refusal:
        await move(service.operations(), asked("ramp:50"))
    assert refusal.value.exit is Exit.REFUSED
    assert text in refusal.value.failure.text
    assert refusal.value.failure.owner == "anna"
    assert (await service.log.routes())["order"].percentage == 25
    await move(service.operations(), asked("ramp:50", override="the night watch says so"))
    (entry, _) = await service.log.history()
    assert entry.detail["override"] == "the night watch says so"
    assert text in entry.detail["overridden"][0]


@pytest.mark.parametrize(
    ("start", "to", "text"),
    [
        ("old", "ramp:5", "order would skip dual: old → ramp"),
        ("old", "new", "order would skip dual and ramp: old → new"),
        ("dual", "new", "order would skip ramp: dual → new"),
    ],
)
async def test_a_skipped_stage_needs_an_override(
    service: Service, start: str, to: str, text: str
) -> None:
    """The stages that are skipped are named."""
    await move(service.operations(), asked(start))
    with pytest.raises(Stopped, match=text):
        await move(service.operations(), asked(to))
    await move(service.operations(), asked(to, override="twelve runs a year"))
    assert (await service.log.routes())["order"].stage is read_target(to).stage


async def test_back_is_always_allowed(service: Service) -> None:
    """From any stage to any earlier one, without gates and overrides."""
    for to in ("ramp:50", "new", "dual", "ramp:50", "ramp:10", "old"):
        await move(service.operations(), asked(to))
    assert len(await service.log.history()) == 6


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tasks": ("ordre",)}, UnknownTask),
        ({"new": "bold"}, UnknownProvider),
        ({"old": "acme", "new": "acme"}, WrongUse),
    ],
)
async def test_what_is_unknown_is_refused_by_name(
    service: Service, options: dict[str, Any], error: type[WrongUse]
) -> None:
    """A misspelt task or provider changes nothing, with or without an override."""
    request = replace(asked("ramp:5", override="yes"), **options)
    with pytest.raises(error):
        await move(service.operations(), request)
    assert await service.log.routes() == {}


async def test_the_next_move_begins_where_the_last_one_ended(service: Service) -> None:
    """A task at `new` may begin a move from there; one under way may not change its providers."""
    await move(service.operations(), asked("ramp:50"))
    with pytest.raises(WrongUse, match="under way"):
        await move(service.operations(), asked("new", old="bolt", new="carl"))
    await move(service.operations(), asked("new"))
    await move(service.operations(), asked("dual", old="bolt", new="carl"))
    route = (await service.log.routes())["order"]
    assert (route.stage, route.old, route.new) == (Stage.DUAL, "bolt", "carl")


async def test_a_pinned_task_stays(service: Service) -> None:
    """A pin is a row, and only an override, or taking it away, moves the task."""
    operations = service.operations()
    pin = MoveRequest(tasks=("order",), stay=True, action=Action.STAY, signature=ANNA)
    assert (await move(operations, pin)).changed
    with pytest.raises(Stopped, match="order is pinned at dual"):
        await move(operations, asked("ramp:5"))
    await move(operations, replace(pin, stay=False, action=Action.UNPIN))
    await move(operations, asked("ramp:5"))
    actions = [entry.action for entry in await service.log.history()]
    assert actions == [Action.MOVE, Action.UNPIN, Action.STAY]


async def test_of_two_operators_the_second_is_told_what_has_changed(service: Service) -> None:
    """Both decided on the same route; the first write counts."""

    class Slow(type(service.log)):  # type: ignore[misc]
        """A run store where another operator is faster."""

        async def change(self, *arguments: Any) -> Any:
            await move(service.operations(), asked("old", signature=replace(ANNA, operator="ben")))
            return await super().change(*arguments)

    slow = Slow(service.log.committer)
    with pytest.raises(Stopped, match=r"order was changed meanwhile: .* by ben") as refusal:
        await move(service.operations(log=slow), asked("ramp:25"))
    assert refusal.value.exit is Exit.REFUSED
    assert (await service.log.routes())["order"].stage is Stage.OLD


async def test_replicas_that_do_not_follow_are_a_state_of_its_own(service: Service) -> None:
    """The routes are written; what is missing is named, and the same command goes on with it."""
    service.clock.meanwhile = service.beat
    with pytest.raises(Stopped, match="in force at 0/2 replicas") as stopped:
        await move(service.operations(), asked("ramp:25"))
    assert stopped.value.exit is Exit.PARTWAY
    assert (await service.log.routes())["order"].stage is Stage.RAMP
    service.clock.meanwhile = service.follow
    again = await move(service.operations(), asked("ramp:25"))
    assert (again.changed, again.agreement.count) == (False, "2/2")


async def test_a_store_of_another_environment_is_refused(tmp_path: Any, service: Service) -> None:
    """Settings of one environment do not move another."""
    from turnout.stores.sql import open_run_store

    store = open_run_store(f"sqlite:///{tmp_path}/t.db", app="shop", environment="staging")
    operations: Operations = service.operations(store=store)
    with pytest.raises(Stopped, match="belongs to the environment staging"):
        await move(operations, asked("ramp:25"))
    await store.close()


@pytest.mark.parametrize("text", ["ramp", "ramp:0", "ramp:100", "ramp:-1", "drained", "NEW", ""])
def test_a_target_that_is_none_is_refused(text: str) -> None:
    """Of drained only the drain says that it is reached."""
    with pytest.raises(WrongUse, match="write old, dual, ramp:N"):
        read_target(text)
    assert str(Target(stage=Stage.RAMP, percentage=7)) == "ramp:7"
