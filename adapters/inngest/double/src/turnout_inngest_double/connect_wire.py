"""The messages of `connect`, by their field numbers (protocol v0.connect.inngest.com)."""

from dataclasses import dataclass
from enum import IntEnum

from turnout_inngest_double import ids, protobuf
from turnout_inngest_double.http_client import Reply

SUBPROTOCOL = "v0.connect.inngest.com"
_STATUS = {0: 206, 1: 200, 2: 500}
"""The SDK's answer as the HTTP status that means the same."""


class Kind(IntEnum):
    """What a message is."""

    HELLO = 0
    WORKER_CONNECT = 1
    READY = 2
    EXECUTOR_REQUEST = 3
    WORKER_READY = 4
    REQUEST_ACK = 5
    REPLY = 6
    REPLY_ACK = 7
    PAUSE = 8
    HEARTBEAT = 9
    GATEWAY_HEARTBEAT = 10
    CLOSING = 11
    EXTEND_LEASE = 12
    EXTEND_LEASE_ACK = 13
    SYNC_FAILED = 14


@dataclass(frozen=True, kw_only=True)
class Hello:
    """A worker introduces itself: its applications, each with its functions as JSON."""

    connection_id: str
    instance_id: str
    token: str
    sdk: str
    apps: tuple[tuple[str, str, bytes], ...]
    """Name, version, functions."""
    most: int
    """How many requests it takes at a time; zero for any number."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call to a function of a connected worker."""

    request_id: str
    app: str
    slug: str
    step: str
    run_id: str
    job_id: str
    lease: str
    payload: bytes


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """A message as it goes over the socket."""
    return protobuf.encode({1: int(kind), 2: payload})


def read_frame(message: bytes) -> tuple[Kind, bytes]:
    """The message's kind and payload; ValueError when it is none."""
    fields = protobuf.decode(message)
    return Kind(protobuf.number(fields, 1)), protobuf.raw(fields, 2)


def start_response(connection_id: str, endpoint: str, token: str) -> bytes:
    """Where a worker connects to, and with which token."""
    return protobuf.encode({1: connection_id, 2: endpoint, 3: "local", 4: token, 5: token})


def read_hello(payload: bytes) -> Hello:
    """The worker's introduction; ValueError when it is malformed."""
    fields = protobuf.decode(payload)
    apps = [protobuf.decode(raw) for raw in fields.get(5, []) if isinstance(raw, bytes)]
    language, version = protobuf.text(fields, 12), protobuf.text(fields, 11)
    return Hello(
        connection_id=protobuf.text(fields, 1),
        instance_id=protobuf.text(fields, 2),
        token=protobuf.text(protobuf.decode(protobuf.raw(fields, 3)), 1),
        sdk=f"inngest-{language}:v{version}",
        apps=tuple(
            (protobuf.text(app, 1), protobuf.text(app, 2), protobuf.raw(app, 4)) for app in apps
        ),
        most=protobuf.number(fields, 14),
    )


def ready(heartbeat: str, extend_lease: str) -> bytes:
    """The worker is admitted; how often it beats and extends leases."""
    return frame(Kind.READY, protobuf.encode({1: heartbeat, 2: extend_lease}))


def request(asked: Request) -> bytes:
    """A call as it goes over the socket."""
    payload: dict[int, str | bytes | int | bool] = {
        1: asked.request_id,
        2: ids.NIL_UUID,
        3: ids.NIL_UUID,
        4: ids.name_uuid(asked.app),
        5: asked.app,
        6: ids.name_uuid(asked.slug),
        7: asked.slug,
        8: asked.step,
        9: asked.payload,
        12: asked.run_id,
        13: asked.lease,
        14: asked.job_id,
    }
    return frame(Kind.EXECUTOR_REQUEST, protobuf.encode(payload))


def read_request_id(payload: bytes) -> str:
    """The request that an acknowledgement, an extension or a reply belongs to."""
    return protobuf.text(protobuf.decode(payload), 1)


def lease_ack(payload: bytes, lease: str) -> bytes:
    """Answer to an extension; without a lease the worker gives the request up."""
    asked = protobuf.decode(payload)
    kept = {at: protobuf.raw(asked, at) for at in (1, 2, 3, 4, 5)}
    return frame(Kind.EXTEND_LEASE_ACK, protobuf.encode({**kept, 6: lease}))


def reply_ack(request_id: str) -> bytes:
    """The reply was taken in."""
    return frame(Kind.REPLY_ACK, protobuf.encode({1: request_id}))


def flush_response(request_id: str) -> bytes:
    """The reply was taken in, by HTTP."""
    return protobuf.encode({1: request_id})


def read_reply(payload: bytes) -> Reply:
    """A worker's answer in the form of an HTTP reply."""
    fields = protobuf.decode(payload)
    headers = {
        "x-inngest-sdk": protobuf.text(fields, 9) or "connect",
        "x-inngest-req-version": str(protobuf.number(fields, 10) or 2),
    }
    if protobuf.number(fields, 7):
        headers["x-inngest-no-retry"] = "true"
    if after := protobuf.text(fields, 8):
        headers["retry-after"] = after
    status = _STATUS.get(protobuf.number(fields, 5), 500)
    return Reply(status=status, headers=headers, body=protobuf.raw(fields, 6))
