"""What starting commands costs: `python scripts/bench/startup.py [--rounds N]`.

Seconds of CPU, medians of rounds in which all are started by turns: a bare typer program, the
imports that a command with a run store needs at least, and the commands. Prints one JSON object,
with the modules that must not be imported for --help and were.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
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
FLOOR = """
import sqlalchemy, typer
from pydantic import BaseModel
class One(BaseModel):
    number: int = 1
"""
TURNOUT = "from turnout.cli.main import run; run()"
APP = """
from turnout import App, task
@task("hello", on="hello/asked")
async def hello(ctx, payload): ...
app = App(name="hello", tasks=(hello,))
"""
PROGRAMS: dict[str, tuple[str, ...]] = {
    "bare --help": (BARE, "--help"),
    "floor": (FLOOR,),
    "turnout --help": (TURNOUT, "--help"),
    "turnout runs list": (TURNOUT, "runs", "list"),
    "turnout emit": (TURNOUT, "emit", "hello/asked"),
    "turnout doctor": (TURNOUT, "doctor"),
}
HEAVY = ("alembic", "boto3", "deepdiff", "httpx", "pydantic", "sqlalchemy")
TARGET = 1.5
"""Of `turnout --help` to the bare program."""


def cpu(program: tuple[str, ...], folder: Path) -> float:
    """Run a program to its end; return the seconds of CPU that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", *program],
        check=False,
        cwd=folder,
        env={**os.environ, "TURNOUT_APP": "bench_app:app"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imported() -> list[str]:
    """Name what `turnout --help` imports and should not."""
    look = (
        "import atexit, sys, json;"
        " atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr)); "
        + TURNOUT
    )
    ended = subprocess.run(
        [sys.executable, "-c", look, "--help"], check=True, capture_output=True, text=True
    )
    modules = set(json.loads(ended.stderr.strip().splitlines()[-1]))
    return [name for name in HEAVY if name in modules]


def measure(rounds: int) -> dict[str, Any]:
    """Start all by turns, and return the figures; the first round warms the caches up."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bench_app.py").write_text(APP)
        times = [[cpu(program, folder) for program in PROGRAMS.values()] for _ in range(rounds + 1)]
    medians = [statistics.median(column) for column in zip(*times[1:], strict=True)]
    seconds = dict(zip(PROGRAMS, medians, strict=True))
    return {
        "cpu_seconds": {title: round(median, 3) for title, median in seconds.items()},
        "ratio": round(seconds["turnout --help"] / seconds["bare --help"], 3),
        "target": TARGET,
        "heavy_imports": imported(),
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    figures = {"rounds": options.rounds, "load": os.getloadavg(), **measure(options.rounds)}
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
