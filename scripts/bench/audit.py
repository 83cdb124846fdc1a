"""Measure the audit on a generated tree the size of a large monorepo.

    python scripts/bench/audit.py [--files 5900] [--megabytes 38] [--every 40] [--runs 5]

Every 40th file holds a trace: a service that uses a vendor names it in two or three of a hundred
files. `--every 6` is the worst case, a vendor's own repository.

It reports the median of the runs: ripgrep alone with the text rules' expressions, the audit of
the same rules, the whole audit of each rule set that ships, and the peak memory of each. All are
measured by turns, so that a busy machine is busy for all of them, and told as ratios to ripgrep.

    python scripts/bench/audit.py --tree FOLDER

measures a tree that is there, a vendor's own repository for example. `--against "COMMAND"` measures
another version by turns with this one. Compiled modules are kept in a folder of their own, as an
installed package has them.
"""

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

EXPRESSIONS = [
    *(
        r"@trigger\.dev/sdk/v3",
        r"metadata\.stream\(",
        r"useRealtimeRunWithStreams",
        r"\btoolTask\b",
    ),
    *(r"handleError\b", r"triggerDirectories", r"additionalPackages", r"dependenciesToBundle"),
    *(r"ctx\.attempt\.(id|status)", r"client\.defineJob", r"eventTrigger\(", r"io\.runTask\("),
    *(r"experimental_processKeepAlive", r"resetConcurrencyLimit", r"overrideConcurrencyLimit"),
    *(r"WAITING_FOR_DEPLOY", r"REATTEMPTING", r"/api/v1/tasks/[\w-]+/batch", r"prismaExtension\("),
    *(r"from ['\"]inngest['\"]", r"inngest\.createFunction\(", r"INNGEST_EVENT_KEY"),
]
NOUNS = [
    "user",
    "order",
    "payload",
    "result",
    "batch",
    "worker",
    "server",
    "client",
    "request",
    "response",
    "error",
    "logger",
    "config",
    "context",
    "value",
    "index",
    "length",
    "filter",
    "entry",
    "reducer",
    "promise",
    "buffer",
    "schema",
    "project",
    "environment",
    "deployment",
    "attempt",
    "token",
    "organisation",
    "member",
    "session",
    "account",
    "invoice",
    "ledger",
    "packet",
    "socket",
    "cursor",
    "column",
    "record",
    "folder",
    "branch",
    "commit",
    "label",
    "button",
    "dialog",
    "layout",
    "router",
    "query",
    "mutation",
    "fixture",
    "snapshot",
    "metric",
    "counter",
    "gauge",
    "histogram",
    "handler",
    "adapter",
    "parser",
    "printer",
    "walker",
    "stream",
    "queue",
    "schedule",
    "machine",
]
TRACES = {
    ".ts": (
        'import { task } from "@trigger.dev/sdk/v3";\n'
        'export const t = task({ id: "a", run: async (p, c) => { metadata.stream("x"); } });\n'
    ),
    ".tsx": 'import { useRealtimeRunWithStreams } from "@trigger.dev/react-hooks";\n',
    ".py": "import inngest\nclient = inngest.Inngest(app_id='x')\n",
    ".md": "Run it on Inngest, see `@trigger.dev/sdk/v3`.\n",
    ".json": '{"dependencies": {"@trigger.dev/sdk": "3.3.17", "inngest": "^3.0.0"}}\n',
    ".yml": "env:\n  INNGEST_EVENT_KEY: ${{ secrets.INNGEST_EVENT_KEY }}\n",
}
SETS = ("inngest", "triggerdev", "inngest-v4", "triggerdev-v4")
SHARES = {".ts": 48, ".tsx": 22, ".md": 14, ".json": 8, ".yml": 4, ".py": 4}


def main() -> None:
    """Generate, measure, print."""
    options = _options()
    scratch = Path(tempfile.mkdtemp(prefix="turnout-bench-"))
    try:
        folder = Path(options.tree or options.keep or scratch / "tree")
        if not options.tree:
            total = options.megabytes * 1_000_000
            size = generate(folder, files=options.files, total=total, every=options.every)
            summary = f"{options.files} files, {size / 1e6:.1f} MB, a trace in 1 of {options.every}"
            print(f"tree: {summary}")
        rules = _text_rules(scratch / "text-only.toml")
        rows = {"ripgrep, the text rules' expressions": _ripgrep(folder)}
        for name in (str(rules), *SETS):
            for command in ("turnout-audit", *options.against):
                rows[f"{command} {Path(name).stem}"] = [
                    *command.split(),
                    name,
                    str(folder),
                    "--json",
                ]
        _print_medians(
            {label: _measured(scratch, command) for label, command in rows.items()}, options.runs
        )
        for name in (str(rules), *SETS):
            _inside(name, folder, options.runs)
    finally:
        shutil.rmtree(scratch)


def generate(folder: Path, *, files: int, total: int, every: int = 40, seed: int = 7) -> int:
    """Write a tree of the given number of files and bytes; the same seed gives the same tree."""
    chance = random.Random(seed)
    weights = [chance.lognormvariate(0, 1.1) for _ in range(files)]
    whole, written = sum(weights), 0
    for number, weight in enumerate(weights):
        suffix = chance.choices(list(SHARES), list(SHARES.values()))[0]
        path = folder / f"p{number % 40}" / f"m{number % 7}" / f"file{number}{suffix}"
        trace = number % every == 0
        if suffix == ".json" and trace:
            path = path.with_name(f"x{number}") / "package.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = _text(chance, suffix, int(total * weight / whole), trace=trace)
        written += path.write_text(text, encoding="utf-8")
    return written


def _text(chance: random.Random, suffix: str, size: int, *, trace: bool) -> str:
    if suffix == ".json":
        rows = {f"{chance.choice(NOUNS)}{n}": chance.choice(NOUNS) for n in range(size // 24)}
        return TRACES[suffix] if trace else json.dumps(rows, indent=1)
    lines = [TRACES[suffix]] if trace else []
    length = 0
    while length < size:
        lines.append(_line(chance, suffix))
        length += len(lines[-1])
    return "".join(lines)


def _line(chance: random.Random, suffix: str) -> str:
    a, b, c, d = chance.choices(NOUNS, k=4)
    number = chance.randrange(1000)
    if suffix == ".md":
        return f"The {a} of a {b} waits for the {c}, and `{d}` says {number} times so.\n\n"
    if suffix == ".py":
        return f"{a}_{number} = {b}({c}={number}, {d}='{a}')\n"
    if suffix == ".yml":
        return f"{a}{number}: {b}\n"
    return f"export const {a}{number} = await {b}.{c}({{ {d}: {number}, id: '{a}' }}); // {b}\n"


def _text_rules(path: Path) -> Path:
    rules = "".join(
        f'[[rule]]\nid = "text.{number}"\nwhy = "w"\nlevel = "warn"\n'
        f'scope = ["code", "config", "docs"]\nmatch = {{ text = {json.dumps(expression)} }}\n'
        for number, expression in enumerate(EXPRESSIONS)
    )
    head = 'ruleset = "text"\nversion = "1"\ntitle = "Text"\nmarkers = ["trigger"]\n'
    path.write_text(head + rules, encoding="utf-8")
    return path


def _ripgrep(folder: Path) -> list[str]:
    options = [part for expression in EXPRESSIONS for part in ("-e", expression)]
    return ["rg", "--no-config", "--hidden", "-n", *options, str(folder)]


Run = tuple[float, float, float]
"""Seconds of wall time and of the processor, and megabytes at the peak."""


def _measured(scratch: Path, command: list[str]) -> Callable[[], Run]:
    """Make a measurement of a command."""
    environment = {"PYTHONPYCACHEPREFIX": str(scratch / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}

    def run() -> Run:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | environment)
        _, _, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024

    return run


def _print_medians(rows: dict[str, Callable[[], Run]], runs: int) -> None:
    """Run all by turns, once more than asked for, and print the medians; the first is ripgrep."""
    rounds = [[run() for run in rows.values()] for _ in range(runs + 1)][1:]
    medians = [
        [statistics.median(sample[kind] for sample in column) for kind in range(3)]
        for column in zip(*rounds, strict=True)
    ]
    first = medians[0]
    for label, (wall, busy, peak) in zip(rows, medians, strict=True):
        print(
            f"{label:<46} wall {wall:5.2f} s ({wall / first[0]:5.1f})  processor {busy:5.2f} s "
            f"({busy / first[1]:5.1f})  peak {peak:3.0f} MB"
        )


INSIDE = """
import resource, sys, time
from turnout_audit.engine import audit
from turnout_audit.load import load
def busy():
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)
rules = load(sys.argv[1])
for _ in range(int(sys.argv[3])):
    before, start = busy(), time.perf_counter()
    report = audit(rules, [sys.argv[2]])
    wall = time.perf_counter() - start
    print(wall, busy() - before, len(report.findings), report.counted.opened)
"""


def _inside(name: str, folder: Path, runs: int) -> None:
    """Measure without the interpreter's start."""
    command = [sys.executable, "-c", INSIDE, name, str(folder), str(runs)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [row.split() for row in output.splitlines()]
    wall = statistics.median(float(row[0]) for row in rows)
    busy = statistics.median(float(row[1]) for row in rows)
    print(
        f"inside, {Path(name).stem:<38} wall {wall:5.2f} s  processor {busy:5.2f} s  "
        f"{rows[0][2]} findings, {rows[0][3]} files opened"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=5900)
    parser.add_argument("--megabytes", type=int, default=38)
    parser.add_argument("--every", type=int, default=40, help="one file in so many holds a trace")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--against", action="append", default=[], help="another audit command")
    parser.add_argument("--tree", help="measure this folder instead of a generated one")
    parser.add_argument("--keep", help="generate into this folder, and leave it there")
    return parser.parse_args()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
