"""What a check says, and how long it may take."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from enum import StrEnum

from turnout.errors import TurnoutError

CHECK_TIME = 5.0
"""Seconds that one check may take."""


class Health(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of one check."""

    name: str
    health: Health
    text: str
    """What the check found."""
    fix: str = ""
    """What to do about it; empty where nothing is to be done."""


async def bounded(name: str, check: Awaitable[Check], *, fix: str) -> Check:
    """Wait for a check; an error, or no answer in time, is its result."""
    try:
        return await asyncio.wait_for(check, CHECK_TIME)
    except TurnoutError as error:
        return Check(name=name, health=Health.FAIL, text=str(error), fix=fix)
    except TimeoutError:
        return Check(
            name=name, health=Health.FAIL, text=f"no answer in {CHECK_TIME:.0f} s", fix=fix
        )
