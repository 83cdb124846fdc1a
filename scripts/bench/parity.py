"""Stored pairs through `turnout parity check`, against a plain loop of open or boto3 and DeepDiff.

    python scripts/bench/parity.py [--pairs 10000] [--loop-pairs 1000] [--stores folder,s3]

Prints JSON: seconds, CPU seconds, peak memory of both, and their ratios; and our peak memory on a
tenth of the pairs, which shows whether it grows. The loop takes the same time for every pair, so it
may run on a part (`--loop-pairs`) and is then scaled; both are printed. Filling a bucket takes ten
times as long as measuring it: begin with `--stores folder`.
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

START = 1_770_000_000_000
STEPS = ("load-sources", "summarise", "store")
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench-secret",
    "AWS_REGION": "us-east-1",
}

LOOP = """
import json, os, sys
from deepdiff import DeepDiff
VOLATILE = {"run_id", "role", "provider", "provider_run_id", "shadow_mode", "started_at",
            "emitted_at", "at", "retry_at", "sha256", "size", "duration_ms", "timings",
            "deliveries"}
def strip(value):
    if isinstance(value, dict):
        return {k: strip(v) for k, v in value.items() if k not in VOLATILE}
    return [strip(v) for v in value] if isinstance(value, list) else value
url, first = sys.argv[1], int(sys.argv[2])
if url.startswith("s3://"):
    import boto3
    s3, bucket = boto3.client("s3"), url[5:]
    def read(key):
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    def names():
        for page in s3.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix="runs/", Delimiter="/"):
            yield from (p["Prefix"][5:-1] for p in page.get("CommonPrefixes", ()))
else:
    def read(key):
        with open(os.path.join(url, key), "rb") as file:
            return file.read()
    def names():
        return sorted(os.listdir(os.path.join(url, "runs")))
pairs = differ = 0
for name in names():
    if name.endswith("-dryrun") or pairs == first:
        continue
    pairs += 1
    manifest = json.loads(read(f"runs/{name}/manifest.json"))
    paths = ["manifest.json", *(entry["path"] for entry in manifest["documents"])]
    for path in paths:
        one = json.loads(read(f"runs/{name}/{path}"))
        other = json.loads(read(f"runs/{name}-dryrun/{path}"))
        differ += bool(DeepDiff(strip(one), strip(other)))
print(json.dumps({"pairs": pairs, "differ": differ}))
"""


def documents(run_id: str, *, shadow: bool) -> dict[str, bytes]:
    """Write one run's documents by the published models."""
    from turnout.model import artifacts as a

    found: dict[str, bytes] = {}
    entries = []
    for index, step in enumerate(STEPS):
        placed = a.place_value(
            {"step": step, "items": [{"id": n, "title": f"{run_id[:6]} {n}"} for n in range(8)]}
        )
        attempt = {
            "number": 1,
            "started_at": START + index * 100 + shadow,
            "duration_ms": 80,
            "outcome": "completed",
            "error": None,
            "retry_at": None,
        }
        document = a.StepDocument.model_validate(
            {
                "schema": "turnout/step@1",
                "run_id": run_id,
                "step": step,
                "kind": "step",
                "index": index,
                "branch": "",
                "state": "completed",
                "attempts": [attempt],
                "error": None,
                "output": placed.inline,
                "output_ref": None,
                "output_sha256": placed.sha256,
            },
            strict=False,
        )
        path = a.step_path(index, step)
        found[path] = a.document_bytes(document)
        entries.append(a.document_entry(path, document))
    status = _status(run_id, shadow=shadow)
    found["status.json"] = a.document_bytes(status)
    entries.append(a.document_entry("status.json", status))
    manifest = a.ManifestDocument.model_validate(
        {
            "schema": "turnout/manifest@1",
            "run_id": run_id,
            "task": "agent-run",
            "code_version": "bench",
            "protocol": 1,
            "steps": [
                {"index": n, "step": s, "kind": "step", "branch": ""} for n, s in enumerate(STEPS)
            ],
            "unasked": [],
            "documents": [e.model_dump() for e in sorted(entries, key=lambda e: e.path)],
            "concurrency": {"key": run_id.removesuffix("-dryrun")[-2:], "limit": 10_000},
        },
        strict=False,
    )
    found["manifest.json"] = a.document_bytes(manifest)
    return found


def _status(run_id: str, *, shadow: bool) -> Any:
    from turnout.model import artifacts as a

    placed = a.place_value({"stored": True})
    return a.StatusDocument.model_validate(
        {
            "schema": "turnout/status@1",
            "run_id": run_id,
            "task": "agent-run",
            "provider": "new" if shadow else "old",
            "provider_run_id": f"v-{run_id}",
            "provider_state": None,
            "role": "shadow" if shadow else "primary",
            "shadow_mode": "replay" if shadow else None,
            "not_comparable": None,
            "key": None,
            "state": "completed",
            "transitions": [
                {"state": "queued", "at": START},
                {"state": "running", "at": START + 20},
                {"state": "completed", "at": START + 400},
            ],
            "attempts": 3,
            "deliveries": 1,
            "timings": {
                "queued_ms": 20,
                "execution_ms": 240,
                "waiting_ms": 0,
                "total_ms": 400,
                "overhead_ms": 160 + shadow,
            },
            "error": None,
            "result": placed.inline,
            "result_ref": None,
            "result_sha256": placed.sha256,
            "emitted_at": START,
        },
        strict=False,
    )


def fill_folder(root: Path, numbers: range) -> None:
    """Write pairs into a folder."""
    for number in numbers:
        for shadow in (False, True):
            run_id = f"{number:06d}{'-dryrun' if shadow else ''}"
            for path, body in documents(run_id, shadow=shadow).items():
                target = root / "runs" / run_id / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(body)


async def fill_bucket(url: str, environment: dict[str, str], numbers: range) -> None:
    """Write pairs into a bucket."""
    from turnout.stores.artifacts import open_store

    store = open_store(url, environment)
    gate = asyncio.Semaphore(16)

    async def put(key: str, body: bytes) -> None:
        async with gate:
            await store.put(key, body, mode="overwrite")

    for first in range(0, len(numbers), 100):
        work = []
        for number in numbers[first : first + 100]:
            for shadow in (False, True):
                run_id = f"{number:06d}{'-dryrun' if shadow else ''}"
                found = documents(run_id, shadow=shadow)
                work += [put(f"runs/{run_id}/{path}", body) for path, body in found.items()]
        await asyncio.gather(*work)
    await store.aclose()


@contextmanager
def rclone() -> Iterator[str]:
    """Serve S3 from memory; gives the endpoint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binary = shutil.which("rclone") or str(Path(sys.executable).with_name("rclone"))
    key = f"{ENVIRONMENT['AWS_ACCESS_KEY_ID']},{ENVIRONMENT['AWS_SECRET_ACCESS_KEY']}"
    server = subprocess.Popen(
        [binary, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", key, ":memory:"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def timed(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run a command; give its seconds, its peak memory and what it printed."""
    with tempfile.TemporaryFile() as out:
        begun = time.monotonic()
        child = subprocess.Popen(command, stdout=out, env={**os.environ, **environment})
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - begun
        out.seek(0)
        said = json.loads(out.read())
    code = os.waitstatus_to_exitcode(status)
    return {
        "exit": code,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024, 1),
        "said": said,
    }


def check(url: str, environment: dict[str, str]) -> dict[str, Any]:
    """Measure `turnout parity check` on a store."""
    turnout = str(Path(sys.executable).with_name("turnout"))
    ours = timed([turnout, "parity", "check", "--store", url, "--json"], environment)
    report = ours.pop("said")
    ours |= {name: report[name] for name in ("verdict", "pairs", "matched", "fetched", "verified")}
    return {**ours, "pairs_a_second": round(report["pairs"] / ours["seconds"])}


def compare(
    url: str, environment: dict[str, str], given: argparse.Namespace, fill: Callable[[range], None]
) -> dict[str, Any]:
    """Fill a store, a tenth of it first, and measure both."""
    tenth = given.pairs // 10
    fill(range(tenth))
    small = check(url, environment)
    fill(range(tenth, given.pairs))
    ours = check(url, environment)
    loop = timed([sys.executable, "-c", LOOP, url, str(given.loop_pairs)], environment)
    loop["pairs"] = loop.pop("said")["pairs"]
    scale = ours["pairs"] / loop["pairs"]
    return {
        "turnout": ours,
        "turnout_on_a_tenth": {name: small[name] for name in ("pairs", "seconds", "peak_mb")},
        "loop": {**loop, "seconds_for_all": round(loop["seconds"] * scale, 1)},
        "times_faster": round(loop["seconds"] * scale / ours["seconds"], 1),
        "times_less_cpu": round(loop["cpu_seconds"] * scale / ours["cpu_seconds"], 1),
    }


def main() -> None:
    """Fill the stores, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--loop-pairs", type=int, default=1_000)
    parser.add_argument("--stores", default="folder,s3")
    given = parser.parse_args()
    results: dict[str, Any] = {"pairs": given.pairs}
    for kind in given.stores.split(","):
        if kind == "folder":
            with tempfile.TemporaryDirectory() as root:
                results[kind] = compare(root, {}, given, partial(fill_folder, Path(root)))
        else:
            with rclone() as endpoint:
                environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint}
                _make_bucket(environment)
                url = "s3://bench"

                def fill(numbers: range, where: dict[str, str] = environment) -> None:
                    asyncio.run(fill_bucket("s3://bench", where, numbers))

                results[kind] = compare(url, environment, given, fill)
        print(f"{kind}: {results[kind]['times_faster']} times faster", file=sys.stderr)
    print(json.dumps(results, indent=2))


def _make_bucket(environment: dict[str, str]) -> None:
    import boto3

    os.environ.update(environment)
    boto3.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"]).create_bucket(Bucket="bench")


if __name__ == "__main__":
    main()
