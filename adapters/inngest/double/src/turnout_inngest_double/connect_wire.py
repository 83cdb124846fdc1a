"""The messages of `connect` (protocol v0.connect.inngest.com), as protobuf has them."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from turnout_inngest_double import ids
from turnout_inngest_double.http_client import Reply

SUBPROTOCOL = "v0.connect.inngest.com"
_HTTP_STATUS = {0: 206, 1: 200, 2: 500}
"""The SDK's answer as the HTTP status that means the same."""
_SCHEMA: Final = """
ConnectMessage              kind=1:INT32 payload=2:BYTES
StartResponse               connection_id=1 gateway_endpoint=2 gateway_group=3
StartResponse               session_token=4 sync_token=5
AuthData                    session_token=1 sync_token=2
AppConfiguration            app_name=1 app_version=2 functions=4:BYTES
WorkerConnectRequestData    connection_id=1 instance_id=2 auth_data=3:AuthData
WorkerConnectRequestData    apps=5:AppConfiguration* sdk_version=11 sdk_language=12
WorkerConnectRequestData    max_worker_concurrency=14:INT64
GatewayConnectionReadyData  heartbeat_interval=1 extend_lease_interval=2
GatewayExecutorRequestData  request_id=1 account_id=2 env_id=3 app_id=4 app_name=5 function_id=6
GatewayExecutorRequestData  function_slug=7 step_id=8 request_payload=9:BYTES run_id=12
GatewayExecutorRequestData  lease_id=13 job_id=14
RequestId                   request_id=1
LeaseAckData                request_id=1 account_id=2 env_id=3 app_id=4 function_slug=5
LeaseAckData                new_lease_id=6
SDKResponse                 request_id=1 status=5:INT32 body=6:BYTES no_retry=7:BOOL retry_after=8
SDKResponse                 sdk_version=9 request_version=10:UINT32
"""
"""By message, the fields that the server reads or writes: name, number, and type if it is no text.

A star marks a repeated field. `RequestId` is what the acknowledgements have in common;
`LeaseAckData` is read from the request for it, too.
"""


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
    max_requests: int
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


def encode(message: str, **fields: Any) -> bytes:
    """A message of these fields."""
    encoded: bytes = _CLASSES[message](**fields).SerializeToString()
    return encoded


def decode(message: str, raw: bytes) -> Any:
    """Read a message; ValueError when it is malformed."""
    try:
        return _CLASSES[message].FromString(raw)
    except DecodeError as error:
        raise ValueError(f"{message}: {error}") from error


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """A message as it goes over the socket."""
    return encode("ConnectMessage", kind=kind, payload=payload)


def read_frame(message: bytes) -> tuple[Kind, bytes]:
    """The message's kind and payload; ValueError when it is none."""
    read = decode("ConnectMessage", message)
    return Kind(read.kind), read.payload


def start_response(connection_id: str, endpoint: str, token: str) -> bytes:
    """Where a worker connects to, and with which token."""
    return encode(
        "StartResponse",
        connection_id=connection_id,
        gateway_endpoint=endpoint,
        gateway_group="local",
        session_token=token,
        sync_token=token,
    )


def read_hello(payload: bytes) -> Hello:
    """The worker's introduction; ValueError when it is malformed."""
    hello = decode("WorkerConnectRequestData", payload)
    return Hello(
        connection_id=hello.connection_id,
        instance_id=hello.instance_id,
        token=hello.auth_data.session_token,
        sdk=f"inngest-{hello.sdk_language}:v{hello.sdk_version}",
        apps=tuple((app.app_name, app.app_version, app.functions) for app in hello.apps),
        max_requests=hello.max_worker_concurrency,
    )


def ready(heartbeat: str, extend_lease: str) -> bytes:
    """The worker is admitted; how often it beats and extends leases."""
    intervals = {"heartbeat_interval": heartbeat, "extend_lease_interval": extend_lease}
    return frame(Kind.READY, encode("GatewayConnectionReadyData", **intervals))


def request(call: Request) -> bytes:
    """A call as it goes over the socket."""
    payload = encode(
        "GatewayExecutorRequestData",
        request_id=call.request_id,
        account_id=ids.NIL_UUID,
        env_id=ids.NIL_UUID,
        app_id=ids.name_uuid(call.app),
        app_name=call.app,
        function_id=ids.name_uuid(call.slug),
        function_slug=call.slug,
        step_id=call.step,
        request_payload=call.payload,
        run_id=call.run_id,
        lease_id=call.lease,
        job_id=call.job_id,
    )
    return frame(Kind.EXECUTOR_REQUEST, payload)


def read_request_id(payload: bytes) -> str:
    """The request that an acknowledgement, an extension or a reply belongs to."""
    request_id: str = decode("RequestId", payload).request_id
    return request_id


def lease_ack(payload: bytes, lease: str) -> bytes:
    """Answer to an extension; without a lease the worker gives the request up."""
    extension = decode("LeaseAckData", payload)
    extension.new_lease_id = lease
    return frame(Kind.EXTEND_LEASE_ACK, extension.SerializeToString())


def reply_ack(request_id: str) -> bytes:
    """The reply was taken in."""
    return frame(Kind.REPLY_ACK, flush_response(request_id))


def flush_response(request_id: str) -> bytes:
    """The reply was taken in, by HTTP."""
    return encode("RequestId", request_id=request_id)


def read_reply(payload: bytes) -> Reply:
    """A worker's answer in the form of an HTTP reply."""
    answer = decode("SDKResponse", payload)
    headers = {
        "x-inngest-sdk": answer.sdk_version or "connect",
        "x-inngest-req-version": str(answer.request_version or 2),
    }
    if answer.no_retry:
        headers["x-inngest-no-retry"] = "true"
    if answer.retry_after:
        headers["retry-after"] = answer.retry_after
    return Reply(status=_HTTP_STATUS.get(answer.status, 500), headers=headers, body=answer.body)


def _classes() -> dict[str, Any]:
    """Make the messages' classes, in a pool of their own: the SDK's have the same names."""
    file = descriptor_pb2.FileDescriptorProto(name="connect.proto", syntax="proto3")
    messages: dict[str, Any] = {}
    for line in _SCHEMA.strip().splitlines():
        name, *fields = line.split()
        if name not in messages:
            messages[name] = file.message_type.add(name=name)
        for field in fields:
            label, _, definition = field.partition("=")
            number, _, kind = definition.partition(":")
            messages[name].field.add(name=label, number=int(number), **_field_type(kind, messages))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in messages
    }


def _field_type(kind: str, messages: dict[str, Any]) -> dict[str, Any]:
    field = descriptor_pb2.FieldDescriptorProto
    label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
    name = kind.rstrip("*")
    if name in messages:
        return {"label": label, "type": field.TYPE_MESSAGE, "type_name": f".{name}"}
    return {"label": label, "type": field.Type.Value(f"TYPE_{name or 'STRING'}")}


_CLASSES: Final = _classes()
