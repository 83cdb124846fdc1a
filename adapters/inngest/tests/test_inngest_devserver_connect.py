"""Workers of the official SDK that hold a socket instead of serving HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import inngest
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inngest_lab import HOUR_MS, Lab
from turnout_inngest_double import connect_wire as wire
from turnout_inngest_double.connect_wire import Kind
from turnout_inngest_double.gateway import LEASE_MS
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket


@contextlib.asynccontextmanager
async def sdk_worker(lab: Lab) -> AsyncIterator[None]:
    """The SDK's own worker, connected and ready."""
    from inngest.connect import ConnectionState, connect

    connection = connect([(lab.client, lab.functions)], shutdown_signals=[])
    started = asyncio.create_task(connection.start())
    await connection.wait_for_state(ConnectionState.ACTIVE)
    try:
        yield
    finally:
        await connection.close()
        await started


async def test_a_connected_worker_runs_functions(lab: Lab) -> None:
    """It registers itself, runs steps and parallel steps, and shows as CONNECT."""

    @lab.function("three")
    async def three(ctx: inngest.Context) -> Any:
        async def step(name: str) -> str:
            return name

        await ctx.step.run("a", step, "a")
        both = (lambda: ctx.step.run("b", step, "b"), lambda: ctx.step.run("c", step, "c"))
        return list(await ctx.group.parallel(both))

    async with sdk_worker(lab):
        app = (await lab.api.get("/v2/apps/lab")).json()["data"]
        assert (app["method"], app["functionCount"]) == ("CONNECT", 1)
        workers = (await lab.api.get("/v0/connect/envs/any/conns")).json()["data"]
        assert [(worker["apps"], worker["status"]) for worker in workers] == [(["lab"], "READY")]
        run = await lab.run_in(await lab.emit("lab/three"), "COMPLETED", "FAILED")
        assert run["output"] == {"data": ["b", "c"]}


async def test_without_a_worker_the_run_fails_by_name(lab: Lab) -> None:
    """The attempt is spent, with the vendor's word for it."""

    @lab.function("lonely")
    async def lonely(ctx: inngest.Context) -> None: ...

    async with sdk_worker(lab):
        pass
    run = await lab.run_in(await lab.emit("lab/lonely"), "FAILED")
    assert run["output"]["error"]["error"] == "connect_no_healthy_connection"


async def _greeted(socket: ClientConnection, token: str) -> None:
    """Do what a worker does until it is ready."""
    assert wire.read_frame(await _bytes(socket))[0] is Kind.HELLO
    function = (
        b'[{"id":"lab-f","name":"f","steps":{"step":{"id":"step","retries":{"attempts":1},'
        b'"runtime":{"type":"ws","url":"wss://connect?fnId=lab-f&stepId=step"}}},'
        b'"triggers":[{"event":"lab/f"}]}]'
    )
    hello = wire.encode(
        "WorkerConnectRequestData",
        connection_id="id",
        auth_data={"session_token": token, "sync_token": token},
        apps=[{"app_name": "lab", "functions": function}],
        sdk_version="0.5.19",
        sdk_language="py",
    )
    await socket.send(wire.frame(Kind.WORKER_CONNECT, hello))
    assert wire.read_frame(await _bytes(socket))[0] is Kind.READY


async def _bytes(socket: ClientConnection) -> bytes:
    message = await socket.recv()
    assert isinstance(message, bytes)
    return message


async def _admission(lab: Lab) -> tuple[str, str]:
    answer = await lab.api.post("/v0/connect/start", content=b"")
    start = wire.decode("StartResponse", answer.content)
    return start.gateway_endpoint, start.session_token


def _socket(endpoint: str) -> Any:
    return open_socket(endpoint, subprotocols=[wire.SUBPROTOCOL])  # type: ignore[list-item]


async def test_a_reply_may_come_by_http_when_the_socket_is_gone(lab: Lab) -> None:
    """The call outlives its socket until the lease runs out; a flushed reply still counts."""
    endpoint, token = await _admission(lab)
    async with _socket(endpoint) as socket:
        await _greeted(socket, token)
        event = await lab.emit("lab/f")
        kind, payload = wire.read_frame(await _bytes(socket))
        assert kind is Kind.EXECUTOR_REQUEST
        request_id = wire.read_request_id(payload)
    reply = wire.encode(
        "SDKResponse",
        request_id=request_id,
        status=1,
        body=b'"late"',
        sdk_version="py:v0.5.19",
        request_version=2,
    )
    assert (await lab.api.post("/v0/connect/flush", content=reply)).status_code == 200
    run = await lab.run_in(event, "COMPLETED", "FAILED")
    assert run["output"] == {"data": "late"}


async def test_a_lease_that_is_not_extended_runs_out(lab: Lab) -> None:
    """The vendor waits two minutes for a worker that vanished; then the attempt is spent."""
    endpoint, token = await _admission(lab)
    async with _socket(endpoint) as socket:
        await _greeted(socket, token)
        event = await lab.emit("lab/f")
        _, payload = wire.read_frame(await _bytes(socket))
        await lab.advance(LEASE_MS - 10_000)
        extension = wire.encode(
            "LeaseAckData", request_id=wire.read_request_id(payload), function_slug="lab-f"
        )
        await socket.send(wire.frame(Kind.EXTEND_LEASE, extension))
        kind, answer = wire.read_frame(await _bytes(socket))
        assert kind is Kind.EXTEND_LEASE_ACK
        assert wire.decode("LeaseAckData", answer).new_lease_id
        await lab.advance(LEASE_MS - 10_000)
        assert (await lab.run(event))["status"] == "RUNNING"
        await lab.advance(20_000)
        await socket.send(wire.frame(Kind.EXTEND_LEASE, extension))
        _, answer = wire.read_frame(await _bytes(socket))
        assert not wire.decode("LeaseAckData", answer).new_lease_id
    await lab.advance(HOUR_MS)
    run = await lab.run_in(event, "FAILED")
    assert run["output"]["error"]["error"] == "connect_no_healthy_connection"


@pytest.mark.parametrize("token", ["", "made-up"])
async def test_a_worker_without_a_token_is_sent_away(lab: Lab, token: str) -> None:
    """Only who asked `/v0/connect/start` may introduce itself."""
    endpoint, _ = await _admission(lab)
    async with _socket(endpoint) as socket:
        await _bytes(socket)
        hello = wire.encode("WorkerConnectRequestData", auth_data={"session_token": token})
        await socket.send(wire.frame(Kind.WORKER_CONNECT, hello))
        await socket.wait_closed()
        assert socket.close_code == 1008


async def test_a_malformed_flush_is_refused(lab: Lab) -> None:
    """400, not a fault of the server."""
    answer: httpx.Response = await lab.api.post("/v0/connect/flush", content=b"\xff\xff")
    assert answer.status_code == 400


@given(kind=st.sampled_from(Kind), payload=st.binary(max_size=300))
def test_messages_survive_the_wire(kind: Kind, payload: bytes) -> None:
    """What is encoded is decoded."""
    assert wire.read_frame(wire.frame(kind, payload)) == (kind, payload)


def test_messages_are_the_sdks_own() -> None:
    """Every field has the number and the type that the SDK's generated module has."""
    from google.protobuf.descriptor import FieldDescriptor
    from inngest.connect._internal import connect_pb2

    theirs = connect_pb2.DESCRIPTOR.message_types_by_name
    same_on_the_wire = {FieldDescriptor.TYPE_ENUM: FieldDescriptor.TYPE_INT32}
    names = {"RequestId": "WorkerReplyAckData", "LeaseAckData": "WorkerRequestExtendLeaseAckData"}
    for name, message in wire._CLASSES.items():
        for field in message.DESCRIPTOR.fields:
            other = theirs[names.get(name, name)].fields_by_name[field.name]
            assert field.number == other.number
            assert field.type == same_on_the_wire.get(other.type, other.type)


@given(st.binary(max_size=60))
def test_no_message_breaks_the_decoder(message: bytes) -> None:
    """Whatever comes is fields or a ValueError."""
    with contextlib.suppress(ValueError):
        wire.read_frame(message)
    for name in wire._CLASSES:
        with contextlib.suppress(ValueError):
            wire.decode(name, message)
