"""Makes what the worker's tests share importable by its name, and worlds for them."""

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "driver"))

from calling_parts import World, world_of

from turnout.model.tasks import Task


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., World]]:
    """Make worlds, and close them."""
    made: list[World] = []

    def new(*tasks: Task) -> World:
        made.append(world_of(*tasks))
        return made[-1]

    yield new
    for world in made:
        await world.close()
