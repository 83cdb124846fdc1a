"""Stored pairs through `turnout parity check`, beside an earlier version, a floor and a plain loop.

    python scripts/bench/parity.py [--pairs 10000] [--loop-pairs 1000] [--stores folder,s3]
                                   [--against COMMIT] [--rounds 5]

Prints JSON: seconds, CPU seconds and peak memory, the best of the rounds. Each round runs by turns
this version, the one of `--against` on the same store, and the floor: listing the runs, reading
both manifests and both status documents of every pair, and parsing them. The peak on a tenth of the
pairs shows whether memory grows. The plain loop of open or boto3 and DeepDiff takes the same time
for every pair, so it may run on a part (`--loop-pairs`) and is then scaled. Filling a bucket takes
ten times as long as measuring it: begin with `--stores folder`.
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

STORE = """
import json, os, sys
url = sys.argv[1]
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
"""

FLOOR = (
    STORE
    + """
import orjson
runs = 0
for name in names():
    runs += 1
    orjson.loads(read(f"runs/{name}/manifest.json"))
    orjson.loads(read(f"runs/{name}/status.json"))
print(json.dumps({"pairs": runs // 2}))
"""
)

LOOP = (
    STORE
    + """
from deepdiff import DeepDiff
VOLATILE = {"run_id", "role", "provider", "provider_run_id", "shadow_mode", "started_at",
            "emitted_at", "at", "retry_at", "sha256", "size", "duration_ms", "timings",
            "deliveries"}
def strip(value):
    if isinstance(value, dict):
        return {k: strip(v) for k, v in value.items() if k not in VOLATILE}
    return [strip(v) for v in value] if isinstance(value, list) else value
limit = int(sys.argv[2])
pairs = differ = 0
for name in names():
    if name.endswith("-dryrun") or pairs == limit:
        continue
    pairs += 1
    manifest = json.loads(read(f"runs/{name}/manifest.json"))
    paths = ["manifest.json", *(entry["path"] for entry in manifest["documents"])]
    for path in paths:
        document = json.loads(read(f"runs/{name}/{path}"))
        twin = json.loads(read(f"runs/{name}-dryrun/{path}"))
        differ += bool(DeepDiff(strip(document), strip(twin)))
print(json.dumps({"pairs": pairs, "differ": differ}))
"""
)


def documents(run_id: str, *, shadow: bool) -> dict[str, bytes]:
    """Write one run's documents by the published models."""
    from turnout.model import artifacts as a
    from turnout.model import documents as d
    from turnout.model.keys import step_path

    bodies: dict[str, bytes] = {}
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
        document = d.StepDocument.model_validate(
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
        path = step_path(index, step)
        bodies[path] = a.document_bytes(document)
        entries.append(a.document_entry(path, document))
    status = _status(run_id, shadow=shadow)
    bodies["status.json"] = a.document_bytes(status)
    entries.append(a.document_entry("status.json", status))
    manifest = d.ManifestDocument.model_validate(
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
    bodies["manifest.json"] = a.document_bytes(manifest)
    return bodies


def _status(run_id: str, *, shadow: bool) -> Any:
    from turnout.model import artifacts as a
    from turnout.model import documents as d

    placed = a.place_value({"stored": True})
    return d.StatusDocument.model_validate(
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
                bodies = documents(run_id, shadow=shadow)
                work += [put(f"runs/{run_id}/{path}", body) for path, body in bodies.items()]
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


@contextmanager
def source_of(commit: str | None) -> Iterator[str]:
    """Unpack the sources of a commit; this version's own without one."""
    if commit is None:
        yield "src"
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit, "src"], check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield f"{folder}/src"


def timed(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run a command; give its seconds, its peak memory and the JSON that it printed."""
    with tempfile.TemporaryFile() as out:
        begun = time.monotonic()
        child = subprocess.Popen(command, stdout=out, env={**os.environ, **environment})
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - begun
        out.seek(0)
        output = json.loads(out.read())
    return {
        "exit": os.waitstatus_to_exitcode(status),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024, 1),
        "pairs": output["pairs"],
        "pairs_a_second": round(output["pairs"] / seconds),
        "output": output,
    }


def check(url: str, environment: dict[str, str], source: str) -> dict[str, Any]:
    """Measure `turnout parity check` of some version on a store."""
    program = "from turnout.cli.main import run; run()"
    command = [sys.executable, "-c", program, "parity", "check", "--store", url, "--json"]
    measured = timed(command, {**environment, "PYTHONPATH": source})
    report = measured.pop("output")
    return measured | {name: report[name] for name in ("verdict", "matched", "fetched", "verified")}


def compare(
    url: str,
    environment: dict[str, str],
    options: argparse.Namespace,
    fill: Callable[[range], None],
) -> dict[str, Any]:
    """Fill a store, a tenth of it first, and measure by turns."""
    tenth = options.pairs // 10
    fill(range(tenth))
    small = check(url, environment, "src")
    fill(range(tenth, options.pairs))
    runs: dict[str, list[dict[str, Any]]] = {"turnout": [], "floor": []}
    with source_of(options.against) as earlier:
        for _ in range(options.rounds):
            runs["turnout"].append(check(url, environment, "src"))
            if options.against is not None:
                runs.setdefault(options.against, []).append(check(url, environment, earlier))
            runs["floor"].append(timed([sys.executable, "-c", FLOOR, url], environment))
    best = {name: min(rounds, key=lambda run: run["seconds"]) for name, rounds in runs.items()}
    best["floor"].pop("output")
    loop = timed([sys.executable, "-c", LOOP, url, str(options.loop_pairs)], environment)
    scale = best["turnout"]["pairs"] / loop["pairs"]
    loop |= {"differ": loop.pop("output")["differ"]}
    seconds, cpu = best["turnout"]["seconds"], best["turnout"]["cpu_seconds"]
    ratios = {
        f"throughput_of_{name}": round(best[name]["seconds"] / seconds, 2)
        for name in best
        if name != "turnout"
    }
    return {
        **best,
        **ratios,
        "turnout_on_a_tenth": {name: small[name] for name in ("pairs", "seconds", "peak_mb")},
        "loop": {**loop, "seconds_for_all": round(loop["seconds"] * scale, 1)},
        "times_faster": round(loop["seconds"] * scale / seconds, 1),
        "times_less_cpu": round(loop["cpu_seconds"] * scale / cpu, 1),
    }


def main() -> None:
    """Fill the stores, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--loop-pairs", type=int, default=1_000)
    parser.add_argument("--stores", default="folder,s3")
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    results: dict[str, Any] = {"pairs": options.pairs}
    for kind in options.stores.split(","):
        if kind == "folder":
            with tempfile.TemporaryDirectory() as root:
                results[kind] = compare(root, {}, options, partial(fill_folder, Path(root)))
        else:
            with rclone() as endpoint:
                environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint}
                _make_bucket(environment)

                def fill(numbers: range, settings: dict[str, str] = environment) -> None:
                    asyncio.run(fill_bucket("s3://bench", settings, numbers))

                results[kind] = compare("s3://bench", environment, options, fill)
        print(f"{kind}: {results[kind]['times_faster']} times faster", file=sys.stderr)
    print(json.dumps(results, indent=2))


def _make_bucket(environment: dict[str, str]) -> None:
    import boto3

    os.environ.update(environment)
    boto3.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"]).create_bucket(Bucket="bench")


if __name__ == "__main__":
    main()
