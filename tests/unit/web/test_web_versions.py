"""A service speaks every version of the step protocol since the first, each caller's own."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from exchanges import APP, Conversation, conversation

from turnout.errors import DefinitionMismatch, WrongUse
from turnout.model.protocol import Message
from turnout.model.protocol_versions import (
    NEWEST,
    OLDEST,
    Since,
    check_fields,
    check_version,
    in_version,
)
from turnout.web.wire import read_call


class Part(Message):
    """A part of an answer, to which later versions have added."""

    name: str
    hint: Annotated[str | None, Since(2)] = None


class Answer(Message):
    """An answer, to which later versions have added."""

    parts: list[Part]
    part: Part | None = None
    count: Annotated[int, Since(3)] = 0
    value: Any = None


ANSWER = Answer(
    parts=[Part(name="a", hint="h")], part=Part(name="b"), count=5, value={"count": [1]}
)
WRITTEN = {
    1: {"parts": [{"name": "a"}], "part": {"name": "b"}, "value": {"count": [1]}},
    2: {
        "parts": [{"name": "a", "hint": "h"}],
        "part": {"name": "b", "hint": None},
        "value": {"count": [1]},
    },
}


@pytest.mark.parametrize("protocol", WRITTEN)
def test_an_answer_has_only_the_fields_of_its_callers_version(protocol: int) -> None:
    """A caller declares by its version what it knows, inside of parts and lists, too."""
    assert in_version(ANSWER, protocol) == WRITTEN[protocol]


def test_the_newest_version_has_every_field() -> None:
    """Nothing is left out that the caller knows, and fields keep their order."""
    assert list(in_version(ANSWER, 3)) == ["parts", "part", "count", "value"]


def test_a_field_that_is_newer_than_the_message_is_refused() -> None:
    """As any unknown field; a caller of its version may send it."""
    check_fields(Answer(parts=[]), 1)
    check_fields(Answer(parts=[], count=1), 3)
    with pytest.raises(WrongUse, match="count"):
        check_fields(Answer(parts=[], count=1), 2)


@pytest.mark.parametrize("protocol", [1, 2, 3])
def test_every_version_of_the_range_is_spoken(protocol: int) -> None:
    """The oldest, the newest, and what is between."""
    check_version(protocol, oldest=1, newest=3)


@pytest.mark.parametrize("protocol", [0, 4])
def test_a_refusal_names_the_range(protocol: int) -> None:
    """An operator sees which side to deploy again."""
    with pytest.raises(DefinitionMismatch, match=f"protocol {protocol}, this service 1 to 3"):
        check_version(protocol, oldest=1, newest=3)


def test_the_first_version_is_still_spoken() -> None:
    """Workers that were copied into users' repositories go on."""
    assert OLDEST == 1 <= NEWEST


async def _probe(talk: Conversation) -> None:
    probe = {"op": "probe", "definition": APP.definition}
    await talk.say("no version", probe)
    await talk.say("the newest", {**probe, "protocol": NEWEST})
    await talk.say("a newer one", {"protocol": NEWEST + 1, "op": "sing", "notes": [1, 2]})


async def test_a_message_of_a_newer_version_is_refused_whatever_it_holds() -> None:
    """Its version is looked at first: 426, so that the vendor tries again, and not 400."""
    async with conversation() as talk:
        await _probe(talk)
    status = {exchange["name"]: exchange["status"] for exchange in talk.recorded}
    assert status == {"no version": 200, "the newest": 200, "a newer one": 426}
    refusal = json.loads(talk.recorded[-1]["answer"])
    assert refusal["code"] == "definition_mismatch"
    assert str(NEWEST) in refusal["message"]


@pytest.mark.parametrize("protocol", [0, "0", NEWEST + 1, str(NEWEST + 1), NEWEST + 1.0, -(10**30)])
def test_a_version_that_is_not_spoken_is_refused_however_it_is_written(protocol: Any) -> None:
    """What is read as a number counts as that number."""
    with pytest.raises(DefinitionMismatch, match="speaks step protocol"):
        read_call(json.dumps({"op": "probe", "protocol": protocol}).encode())
