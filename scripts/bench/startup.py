"""What `turnout --help` costs, against a bare typer program: `python scripts/bench/startup.py`.

Both are started by turns; the ratio is of medians. Prints one JSON object, with the modules that
must not be imported for --help and were.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

BARE = """
import typer
app = typer.Typer()
@app.command()
def one() -> None: ...
@app.command()
def two() -> None: ...
app()
"""
OURS = "from turnout.cli.main import run; run()"
HEAVY = ("alembic", "boto3", "deepdiff", "httpx", "pydantic", "sqlalchemy")
TARGET = 1.5


def started(program: str) -> float:
    """Start a program with --help; the milliseconds until it has ended."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, "--help"], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1e3


def imported() -> list[str]:
    """Name what `turnout --help` imports and should not."""
    look = (
        "import atexit, sys, json;"
        " atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr)); " + OURS
    )
    told = subprocess.run(
        [sys.executable, "-c", look, "--help"], check=True, capture_output=True, text=True
    )
    modules = set(json.loads(told.stderr.strip().splitlines()[-1]))
    return [name for name in HEAVY if name in modules]


def measure(rounds: int) -> dict[str, Any]:
    """Start both by turns, and give the figures."""
    times = [(started(BARE), started(OURS)) for _ in range(rounds + 1)][1:]
    bare, ours = (statistics.median(each) for each in zip(*times, strict=True))
    return {
        "bare_ms": round(bare, 1),
        "turnout_ms": round(ours, 1),
        "ratio": round(ours / bare, 3),
        "target": TARGET,
        "heavy_imports": imported(),
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    told = {"rounds": given.rounds, "load": os.getloadavg(), **measure(given.rounds)}
    sys.stdout.write(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
