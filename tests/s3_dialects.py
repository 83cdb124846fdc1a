"""What stores that speak S3 answer to a put under a condition, as a table, and a server for a row.

The facts are from the services' own pages and from their users' public reports.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from turnout.model.storage import ConditionSupport

Answer = tuple[int, str]
"""An HTTP status and S3's code; an empty code is an answer without a body."""

KEEPS: Final = ConditionSupport(create=True, if_match=True)
LOOKS: Final = ConditionSupport(create=True, if_match=True, looks_first=True)
IGNORES: Final = ConditionSupport(create=False, if_match=False)
FAILED: Final[Answer] = (412, "PreconditionFailed")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a store answers; what is not said is as at Amazon."""

    name: str
    source: str
    support: ConditionSupport = KEEPS
    exists: Answer = FAILED
    """The answer to a create of what is there."""
    nothing: Answer | Literal["written"] = (404, "NoSuchKey")
    """The answer to an if-match of what is not there."""
    refusal: Answer | None = None
    """The answer to every condition."""
    busy: Answer | None = None
    """The answer to the first puts of every key, without anything being written."""
    busy_puts: int = 1
    busy_for: Literal["any put", "a condition"] = "any put"
    etags: bool = True
    loses_answers: bool = False
    """The first put of every key is done, and the connection ends without an answer."""


DIALECTS: Final = (
    Dialect(
        name="amazon",
        source="PutObject: on a 409 ConditionalRequestConflict, retry the upload",
        busy=(409, "ConditionalRequestConflict"),
        busy_for="a condition",
    ),
    Dialect(
        name="amazon before 2024",
        source="ceph/s3-tests#218: NotImplemented for If-Match on a put",
        support=LOOKS,
        refusal=(501, "NotImplemented"),
    ),
    Dialect(
        name="ceph",
        source="ceph/s3-tests#663, minio/minio#21526: 412 for an if-match of nothing",
        nothing=FAILED,
    ),
    Dialect(
        name="ceph, an object being removed",
        source="ceph/s3-tests#663: 404 for an if-none-match",
        busy=(404, "NoSuchKey"),
        busy_for="a condition",
    ),
    Dialect(
        name="swift",
        source="apache/arrow-rs#4777: OperationAborted for any put; please try again",
        busy=(409, "OperationAborted"),
    ),
    Dialect(
        name="r2",
        source="R2's limits: one write a second of one key, else 429 (error 10058)",
        busy=(429, "TooManyRequests"),
    ),
    Dialect(
        name="gcs",
        source="Cloud Storage's preconditions: 304 where if-none-match fails",
        exists=(304, ""),
        busy=(429, "SlowDown"),
    ),
    Dialect(
        name="minio",
        source="minio/minio#21526: an if-match of nothing is written",
        nothing="written",
    ),
    Dialect(
        name="oss",
        source="tobi/walgit#67: 501 for both conditions; its own code for what is there is 409",
        support=LOOKS,
        exists=(409, "FileAlreadyExists"),
        refusal=(501, "NotImplemented"),
    ),
    Dialect(
        name="a 409 for what is there",
        source="as services do whose own API has create-only writes",
        exists=(409, "FileAlreadyExists"),
    ),
    Dialect(
        name="a gateway that does not know the header",
        source="RFC 9110: 400 or 405 for what is not supported",
        support=LOOKS,
        refusal=(400, "InvalidArgument"),
    ),
    Dialect(
        name="a gateway that ignores the header",
        source="pithings/mountx#19, versity/versitygw#1708",
        support=IGNORES,
    ),
    Dialect(name="no ETags", source="gateways before a plain file system", etags=False),
    Dialect(name="lost answers", source="any network", loses_answers=True),
)


@dataclass
class Bucket:
    """The objects of a server, and how often each key was put."""

    dialect: Dialect
    objects: dict[str, bytes] = field(default_factory=dict)
    puts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, key: str, create: bool, version: str | None) -> Answer | None:
        """Return the refusal of a put, None where it is to be done."""
        dialect, body = self.dialect, self.objects.get(key)
        conditional = create or version is not None
        if dialect.refusal is not None and conditional:
            return dialect.refusal
        first = self.puts[key] <= dialect.busy_puts and (
            conditional or dialect.busy_for == "any put"
        )
        if first and dialect.busy is not None:
            return dialect.busy
        if not dialect.support.create:
            return None
        if create and body is not None:
            return dialect.exists
        if version is not None and body is None:
            return None if dialect.nothing == "written" else dialect.nothing
        return FAILED if version is not None and version != etag(body or b"") else None


@contextmanager
def serving(dialect: Dialect) -> Iterator[str]:
    """Serve an empty bucket in a dialect; gives the endpoint."""
    bucket = Bucket(dialect)
    handler = type("Handler", (_Handler,), {"bucket": bucket})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def etag(body: bytes) -> str:
    """Name a version."""
    return md5(body, usedforsecurity=False).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    bucket: Bucket
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""

    def do_PUT(self) -> None:
        """Put an object."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key, version = self._key(), self.headers.get("If-Match")
        with self.bucket.lock:
            self.bucket.puts[key] += 1
            refusal = self.bucket.answer(
                key, self.headers.get("If-None-Match") == "*", version and version.strip('"')
            )
            if refusal is None:
                self.bucket.objects[key] = body
        if refusal is not None:
            self._refuse(*refusal)
        elif self.bucket.dialect.loses_answers and self.bucket.puts[key] == 1:
            self.close_connection = True
        else:
            self._answer(200, b"", body)

    def do_GET(self) -> None:
        """Get an object, or list keys."""
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            self._list(query.get("prefix", [""])[0])
            return
        body = self.bucket.objects.get(self._key())
        if body is None:
            self._refuse(404, "NoSuchKey")
        else:
            self._answer(200, body, body)

    do_HEAD = do_GET  # noqa: N815 - the name that the server calls

    def do_DELETE(self) -> None:
        """Remove an object."""
        self.bucket.objects.pop(self._key(), None)
        self._answer(204)

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).split("/", 2)[2]

    def _list(self, prefix: str) -> None:
        entries = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(body)}</Size><ETag>{etag(body)}</ETag>"
            "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
            for key, body in sorted(self.bucket.objects.items())
            if key.startswith(prefix)
        )
        listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        self._answer(200, listing.encode())

    def _refuse(self, status: int, code: str) -> None:
        text = f"<Error><Code>{code}</Code><Message>as it is</Message></Error>" if code else ""
        self._answer(status, text.encode())

    def _answer(self, status: int, content: bytes = b"", version: bytes | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if version is not None and self.bucket.dialect.etags:
            self.send_header("ETag", f'"{etag(version)}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
