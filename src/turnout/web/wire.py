"""The step protocol as bytes: reads a call of any version that is spoken, and writes its answer."""

from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from turnout.errors import WrongUse
from turnout.model.protocol import AnyCall, Message
from turnout.model.protocol_versions import check_fields, check_version, in_version

_CALLS: TypeAdapter[AnyCall] = TypeAdapter(AnyCall)


def read_call(body: bytes) -> AnyCall:
    """Read a call; DefinitionMismatch for a version that is not spoken, WrongUse names the field.

    The version is looked at first: a message of an unknown version may have any shape.
    """
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise WrongUse("the body is not JSON") from None
    protocol = document.get("protocol") if isinstance(document, dict) else None
    if isinstance(protocol, int):
        check_version(protocol)
    try:
        call = _CALLS.validate_json(body)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, fault["loc"]))
        raise WrongUse(f"{field}: {fault['msg']}") from None
    check_version(call.protocol)  # once more: a text or a float may have been read as a number
    check_fields(call, call.protocol)
    return call


def write(message: Message, protocol: int) -> bytes:
    """Write an answer or a refusal for a caller of this version."""
    return orjson.dumps(in_version(message, protocol))
