"""A pooler in transaction mode, as far as the wire protocol of PostgreSQL shows it.

Clients share few connections to the server. A client has one from the first message of a
transaction until the server says that it is idle; the next transaction may get another. So what a
session holds (prepared statements, settings, LISTEN) is shared with others, and lost. As poolers
do, it makes up the process id that a client is told at the start.
"""

import asyncio
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SSL_REQUEST = 80877103
_CANCEL_REQUEST = 80877102
_READY, _TERMINATE = b"Z", b"X"
_IDLE = b"I"
_AUTHENTICATED = b"R" + struct.pack("!ii", 8, 0)

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Pooler:
    """Serves clients on a port of this machine, with so many connections to one server."""

    def __init__(self, socket: str, database: str, connections: int) -> None:
        self._socket = socket
        self._database = database
        self._connections = connections
        self._free: asyncio.LifoQueue[Stream] = asyncio.LifoQueue()
        self._parameters = b""
        self.port = 0

    async def start(self) -> None:
        """Connect to the server, and listen."""
        for _ in range(self._connections):
            self._free.put_nowait(await self._connected())
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def _connected(self) -> Stream:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        words = b"user\0postgres\0database\0" + self._database.encode() + b"\0\0"
        writer.write(struct.pack("!ii", 8 + len(words), 196608) + words)
        self._parameters = b""
        while True:
            kind, message = await _message(reader)
            if kind == b"S":
                self._parameters += message
            if kind == _READY:
                return reader, writer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            if await _begins(reader, writer):
                process = b"K" + struct.pack("!i", 12) + os.urandom(8)
                ready = _READY + struct.pack("!i", 5) + _IDLE
                writer.write(_AUTHENTICATED + self._parameters + process + ready)
                while await self._transaction(reader, writer):
                    pass
        writer.close()

    async def _transaction(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Pass on one transaction of a client; False where the client has left."""
        kind, first = await _message(reader)
        if kind == _TERMINATE:
            return False
        from_server, to_server = stream = await self._free.get()
        to_server.write(first)
        requests = asyncio.create_task(_pass_on(reader, to_server))
        idle = False
        while not idle:
            kind, message = await _message(from_server)
            writer.write(message)
            idle = kind == _READY and message[-1:] == _IDLE
        requests.cancel()
        # A client sends nothing between its last message and the server's word that it is idle.
        await asyncio.gather(requests, return_exceptions=True)
        self._free.put_nowait(stream)
        return True


async def _begins(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Read how a client begins; False where it only cancels something."""
    while True:
        size, code = struct.unpack("!ii", await reader.readexactly(8))
        await reader.readexactly(size - 8)
        if code == _CANCEL_REQUEST:
            return False
        if code < _CANCEL_REQUEST:
            return True
        writer.write(b"N")


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read a message: its kind, and all its bytes."""
    head = await reader.readexactly(5)
    (size,) = struct.unpack("!i", head[1:])
    return head[:1], head + await reader.readexactly(size - 4)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(await reader.read(65_536))
        await writer.drain()


@contextmanager
def pooled(socket: str, database: str, *, connections: int = 2) -> Iterator[str]:
    """Give the URL of a pooler in front of a server's database."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    pooler = Pooler(socket, database, connections)
    asyncio.run_coroutine_threadsafe(pooler.start(), loop).result(10)
    try:
        yield f"postgresql://postgres@127.0.0.1:{pooler.port}/{database}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
