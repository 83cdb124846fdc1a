"""The step protocol as it is published fits the messages as they are sent."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import turnout.model
from turnout.model.protocol import (
    Advance,
    Execute,
    Executed,
    Follow,
    Followed,
    Message,
    Next,
    Outcome,
    Park,
    Parked,
    Parking,
    Progress,
    Receipt,
    Refusal,
    Report,
    ReportEvent,
    Start,
    StreamedChunk,
    Tick,
    Ticked,
)
from turnout.model.status import ParkReason, RunStatus

SCHEMAS = Path(turnout.model.__path__[0]) / "schemas"
COMMON: dict[str, Any] = {
    "task": "three",
    "definition": "0" * 64,
    "run_id": "r1",
    "delivery": 1,
    "provider_run_id": "p1",
}
NEXT = Next(
    seq=3,
    state=RunStatus.RUNNING,
    run=[Start(step="a", index=0, attempt=1, label="a #1")],
    park=Parking(until=5, reasons=[ParkReason.BACKOFF]),
    progress=Progress(completed=0, current=["a"]),
)
MESSAGES: list[Message] = [
    Advance(**COMMON),
    Execute(**COMMON, step="a", attempt=1),
    Park(**COMMON, seq=3, token="t"),
    Follow(**COMMON, streamed=3),
    Report(**COMMON, event=ReportEvent.CRASHED, at=1),
    Tick(schedule="s", slot=0, provider="x", provider_run_id="p"),
    NEXT,
    Executed(receipt=Receipt(step="a", attempt=1, outcome=Outcome.RETRY, retry_at=9), next=NEXT),
    Parked(go=False, next=NEXT),
    Followed(seq=3, recorded=1, chunks=[StreamedChunk(number=0, stream="words", chunk="a")]),
    Ticked(run_id=None, reason="claimed"),
    Refusal(code="superseded", message="another holds it"),
]
CALLS = {"Advance", "Execute", "Park", "Follow", "Report", "Tick"}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: type(each).__name__)
def test_a_message_fits_its_published_schema(message: Message) -> None:
    """What is sent validates against the published schema, calls as one of `AnyCall`."""
    document = json.loads((SCHEMAS / "protocol-1.json").read_text())
    name = "AnyCall" if type(message).__name__ in CALLS else type(message).__name__
    wanted = {**document, "$ref": f"#/$defs/{name}"}
    jsonschema.Draft202012Validator(wanted).validate(message.model_dump(mode="json"))


def test_every_reference_of_the_openapi_document_is_there() -> None:
    """The OpenAPI document refers to nothing that it does not hold."""
    document = json.loads((SCHEMAS / "protocol-1.openapi.json").read_text())
    held = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(_references(document)) <= held
    assert "/turnout/v1/step" in document["paths"]


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [each for inner in value.values() for each in _references(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in _references(inner)]
    return []
