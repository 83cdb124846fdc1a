"""A plan says of every step to come whether it would pass now, and promises no more."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_cutover.changes import Signature
from turnout_cutover.gates import Evidence
from turnout_cutover.move_file import MoveFile, Wave, read_move_file
from turnout_cutover.moving import MoveRequest, move
from turnout_cutover.outcome import Stopped
from turnout_cutover.planning import Forecast, TaskState, forecast, plan
from turnout_cutover.stages import progress, read_target

from tests.operated_service import T0, Service, replica
from turnout.errors import InvalidSettings, UnknownTask, WrongUse
from turnout.model.routing import Route, Stage

HOUR = 3_600_000
ANNA = Signature(operator="anna", reason="wave 1")
STAGES = [read_target(text) for text in ("dual", "ramp:10", "new")]


def state(stage: Stage, verdict: str | None = None, **changes: Any) -> TaskState:
    """Make the state of a task."""
    route = Route(stage=stage, old="acme", new="bolt", stay=changes.pop("stay", False))
    evidence = None if verdict is None else Evidence(verdict=verdict, text="why", digest="d")
    return TaskState(task="order", route=route, evidence=evidence, since=changes.pop("since", None))


@pytest.mark.parametrize(
    ("given_state", "forecasts"),
    [
        (state(Stage.OLD), ["dual pass", "ramp:10 pass", "new pass"]),
        (state(Stage.RAMP), ["ramp:10 pass", "new pass"]),
        (state(Stage.NEW), []),
        (state(Stage.DUAL, "PASS"), ["ramp:10 pass", "new pass"]),
        (state(Stage.DUAL, "FAIL"), ["ramp:10 refuse", "new refuse"]),
        (state(Stage.OLD, "INCONCLUSIVE"), ["dual pass", "ramp:10 unknown", "new unknown"]),
        (state(Stage.RAMP, "INCONCLUSIVE"), ["ramp:10 refuse", "new refuse"]),
        (state(Stage.DUAL, stay=True), ["ramp:10 refuse", "new refuse"]),
    ],
)
def test_each_step_has_its_forecast(given_state: TaskState, forecasts: list[str]) -> None:
    """A gate that lacks pairs is open while a dual run is to come, and a fault where none is."""
    steps = forecast(given_state, STAGES, 0, T0)
    assert [f"{step.step} {step.forecast.name.lower()}" for step in steps] == forecasts


def test_a_plan_that_skips_a_stage_would_be_refused() -> None:
    """The stage is named."""
    (step,) = forecast(state(Stage.OLD), [read_target("new")], 0, T0)
    assert (step.forecast, step.text) == (Forecast.REFUSE, "it would skip dual and ramp")


def test_soaks_add_up_to_the_earliest_times() -> None:
    """The first step waits for what is left of its stage, each later one for a whole soak more."""
    steps = forecast(state(Stage.DUAL, since=T0 - HOUR), STAGES, 3 * HOUR, T0)
    assert [step.not_before for step in steps] == [
        "2027-01-15T10:00:00.000Z",
        "2027-01-15T13:00:00.000Z",
    ]
    assert [step.forecast for step in steps] == [Forecast.UNKNOWN] * 2
    assert all(step.text == "its soak is not over" for step in steps)


@given(st.lists(st.sampled_from(["old", "dual", "ramp:10", "ramp:60", "new"]), max_size=6))
def test_a_plan_only_goes_forward(names: list[str]) -> None:
    """Whatever stages are declared, in whatever order."""
    steps = forecast(state(Stage.OLD), [read_target(name) for name in names], 0, T0)
    places = [read_target(step.step) for step in steps]
    ranks = [
        progress(Route(stage=place.stage, old="a", new="b", percentage=place.percentage))
        for place in places
    ]
    assert ranks == sorted(set(ranks))


async def _inconclusive(_settings: Any, _gates: Path, tasks: Sequence[str]) -> Any:
    verdict = Evidence(verdict="INCONCLUSIVE", text="40 more pairs", digest="d")
    return dict.fromkeys(tasks, verdict)


async def test_a_plan_reads_routes_gates_and_replicas(service: Service) -> None:
    """Nothing is changed; an absolute flag is against any change; unknown tasks are named."""
    wave = Wave(name="1", tasks=("order",))
    declared = MoveFile(gates=Path("gates.toml"), waves=(wave,))
    operations = service.operations(move_file=declared, judge=_inconclusive)
    result = await plan(operations, declared.waves)
    assert [step.step for step in result.steps] == ["ramp:10", "ramp:50", "new"]
    assert "40 more pairs" in result.steps[0].text
    assert not result.refused
    service.replicas = [replica("r1", provider="bolt")]
    await service.beat()
    assert (await plan(operations, declared.waves)).refused
    with pytest.raises(UnknownTask):
        await plan(operations, [Wave(name="2", tasks=("ordre",))])
    assert await service.log.routes() == {}


async def test_a_task_stays_for_its_soak(service: Service) -> None:
    """Going on before is refused, going back never."""
    declared = MoveFile(waves=(Wave(name="1", tasks=("order",), soak="2h"),))
    operations = service.operations(move_file=declared)

    async def go(to: str) -> None:
        target = read_target(to)
        await move(operations, MoveRequest(tasks=("order",), target=target, signature=ANNA))

    await go("ramp:10")
    with pytest.raises(Stopped, match="order stays at ramp for 7"):
        await go("ramp:50")
    service.clock.time += 2 * HOUR
    await service.beat()
    await go("ramp:50")
    await go("ramp:10")


def test_a_file_is_read_or_its_fault_is_placed(tmp_path: Path) -> None:
    """No file declares nothing; a wave that is not declared is refused with those that are."""
    path = tmp_path / "turnout.move.toml"
    assert read_move_file(path) == MoveFile()
    path.write_text(
        'gates = "g.toml"\n[[waves]]\nname = "1"\ntasks = ["order"]\nstages = ["dual", "new"]\n'
        'soak = "2h"\n'
    )
    declared = read_move_file(path)
    assert declared.gates == tmp_path / "g.toml"
    assert declared.wave("1").soak == declared.soak_of("order") == 2 * HOUR
    assert [str(target) for target in declared.wave("1").stages] == ["dual", "new"]
    with pytest.raises(WrongUse, match="declared: 1"):
        declared.wave("2")
    for text, place in (
        ('[[waves]]\nname = "1"\ntasks = []\nstages = ["ramp:200"]\n', "waves.0.stages"),
        ('[[waves]]\nname = "1"\ntasks = []\nsoak = "soon"\n', "waves.0.soak"),
        ("owners = 3\n", "owners"),
        ("gats = 'x'\n", "gats"),
        ("= 3", "turnout.move.toml"),
    ):
        path.write_text(text)
        with pytest.raises(InvalidSettings, match=place):
            read_move_file(path)
