"""Random tasks, run by the server and by hand: the same results, and no step twice."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from inngest_stage import Stage, ended, start

from turnout import App, Context, NonRetryable, Retries, StepFailed, app, task
from turnout.model.status import RunStatus

Program = list[Any]
"""Nodes in order: ("step", id, fails), ("fail", id), ("sleep", id, ms), ("group", [programs])."""

RETRIES = Retries(max_attempts=3, min_delay="50ms", factor=1)
done: Counter[str] = Counter()
tried: Counter[str] = Counter()


def program(draw: random.Random, name: str, depth: int = 0) -> Program:
    """Draw a program whose ids are its own."""
    nodes: Program = []
    for number in range(draw.randint(1, 2 if depth else 4)):
        label = f"{name}.{number}"
        kind = draw.choice(["step"] * 5 + ["fail", "sleep"] + ["group"] * (3 if depth < 2 else 0))
        match kind:
            case "group":
                branches = [
                    program(draw, f"{label}.{branch}", depth + 1)
                    for branch in range(draw.randint(2, 3))
                ]
                nodes.append((kind, branches))
            case "step":
                nodes.append((kind, label, draw.choice([0, 0, 0, 1, 2])))
            case "sleep":
                nodes.append((kind, label, draw.choice([20, 300, 1_200])))
            case _:
                nodes.append((kind, label))
    return nodes


def expected(nodes: Program) -> list[Any]:
    """What a program gives."""
    found: list[Any] = []
    for node in nodes:
        match node:
            case ("step", label, _):
                found.append(label)
            case ("fail", _):
                found.append("failed")
            case ("group", branches):
                found.append([expected(branch) for branch in branches])
    return found


async def carry_out(ctx: Context, nodes: Program) -> list[Any]:
    """Run a program as a task does."""
    found: list[Any] = []
    for node in nodes:
        match node:
            case ("step", label, fails):
                found.append(await ctx.step(label, work, f"{ctx.run_id}/{label}", label, fails))
            case ("fail", label):
                try:
                    await ctx.step(label, refuse)
                except StepFailed:
                    found.append("failed")
            case ("sleep", label, ms):
                await ctx.sleep(label, f"{ms}ms")
            case ("group", branches):
                found.append(await ctx.parallel(*(carry_out(ctx, each) for each in branches)))
    return found


async def work(key: str, label: str, fails: int) -> str:
    """Fail as often as told, then be done."""
    tried[key] += 1
    await asyncio.sleep(random.random() / 50)
    if tried[key] <= fails:
        raise ValueError(label)
    done[key] += 1
    return label


async def refuse() -> None:
    """Fail for good."""
    raise NonRetryable("no")


def programs(seeds: range) -> tuple[App, dict[str, Program]]:
    """Make a task of each program."""
    drawn = {f"p{seed}": program(random.Random(seed), "r") for seed in seeds}

    def define(name: str, nodes: Program) -> Any:
        async def run(ctx: Context, payload: dict[str, Any]) -> list[Any]:
            return await carry_out(ctx, nodes)

        return task(name, on=f"run/{name}", retries=RETRIES)(run)

    return app("programs", *(define(name, nodes) for name, nodes in drawn.items())), drawn


@pytest.mark.parametrize("first", [0, 100])
async def test_random_programs(tmp_path: Path, first: int) -> None:
    """Results are those of plain code; each body is done once; the vendor saw every step once."""
    stage = Stage(tmp_path)
    made, drawn = programs(range(first, first + 16))
    done.clear()
    async with stage.server(), stage.service(made) as live:
        runs = {name: await start(live, f"run/{name}") for name in drawn}
        for name, run_id in runs.items():
            report = await ended(live, run_id)
            run = report.journal.run
            assert run.state is RunStatus.COMPLETED, (name, run.error)
            assert orjson.loads(run.result or b"") == expected(drawn[name])
            assert run.delivery == 1
            names = await stage.trace(report)
            assert not [each for each in names if each.rpartition(":")[2].isdigit()], names
    assert set(done.values()) <= {1}
