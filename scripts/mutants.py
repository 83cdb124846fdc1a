"""Mutants of the code, and whether tests notice them. `scripts/mutants` says how to call it.

Cosmic Ray makes the mutants. They are tried in copies of the tree, so the tree itself is never
changed. A set of tests runs on the unchanged copy first: a set that fails there could tell nothing.
"""

import argparse
import ast
import contextlib
import json
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from scripts.mutant_trials import ROOT, Check, Copy, copies
from scripts.mutation_settings import Settings, faults, read_settings

RESULTS = ROOT / "build" / "mutants"
LEFT_OUT = re.compile(
    "NoOp"  # changes nothing
    "|BinaryOperator_BitOr_"  # nearly all are `X | None` in annotations
    "|ComparisonOperator_(Eq_Is|NotEq_IsNot|Is_Eq|IsNot_NotEq)$"  # the same for enums and None
)
"""Operators whose mutants say nothing about tests."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one module."""

    id: str
    """Of what is changed, where: the same as long as the function's line is."""
    path: str
    line: int
    operator: str
    before: str
    after: str
    code: str
    """The whole module, changed."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a mutant or a fault."""

    id: str
    place: str
    change: str
    outcome: str
    """noticed, survived, equivalent, or broken: its tests fail without it."""
    by: str
    """The first test that noticed; for an equivalent, the reason."""
    seconds: float
    module: str
    """SHA-256 of the unchanged module."""


def main(arguments: Sequence[str]) -> int:
    """Try what the arguments ask for."""
    options = _options(arguments)
    settings = read_settings()
    if options.faults:
        return _try_faults(list(faults(settings, options.only)))
    drawn = _drawn(settings, options)
    results = _try_mutants(drawn, settings, options)
    return _tell_share(results, options.least)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/mutants")
    parser.add_argument("--number", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--changed", metavar="REF", help="only modules that differ from this commit"
    )
    parser.add_argument("--only", default="", help="only paths (with faults: texts) like this")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--least", type=float, default=95.0, metavar="PER CENT")
    parser.add_argument("--faults", action="store_true")
    return parser.parse_args(arguments)


def _drawn(settings: Settings, options: argparse.Namespace) -> list[Mutant]:
    """Draw mutants of all modules; the order depends on the seed and each mutant alone."""
    changed = _changed_since(options.changed) if options.changed else None
    paths = [
        path
        for path in settings.modules()
        if (changed is None or path in changed)
        and (not options.only or fnmatch(path, options.only))
    ]
    mutants = [mutant for path in paths for mutant in _mutants_of(path)]
    mutants.sort(key=lambda mutant: sha256(f"{options.seed} {mutant.id}".encode()).digest())
    drawn: list[Mutant] = []
    for mutant in mutants:
        if len(drawn) == options.number:
            break
        completed = _with_code(mutant)
        if completed is not None:
            drawn.append(completed)
    print(f"{len(drawn)} of {len(mutants)} mutants of {len(paths)} modules", file=sys.stderr)
    return drawn


def _changed_since(reference: str) -> set[str]:
    """List the files that differ from a commit."""
    command = ["git", "diff", "--name-only", reference]
    return set(
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    )


def _mutants_of(path: str) -> Iterator[Mutant]:
    """Find the places of a module where an operator applies; the code is made for drawn ones."""
    source = (ROOT / path).read_text()
    lines = source.splitlines()
    nodes = list(ast_nodes(get_ast(source)))
    for name in operator_names():
        operator_class = get_operator(name)
        if LEFT_OUT.search(name) or operator_class.arguments():
            continue
        operator = operator_class()
        places = (start for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, (line, column) in enumerate(places):
            text = lines[line - 1].strip()
            yield Mutant(
                id=f"{path} {name.removeprefix('core/')} {text} {column}",
                path=path,
                line=line,
                operator=f"{name} {occurrence}",
                before=text,
                after="",
                code="",
            )


def _with_code(mutant: Mutant) -> Mutant | None:
    """Make the changed module; None where the change is none, or no Python."""
    source = (ROOT / mutant.path).read_text()
    name, occurrence = mutant.operator.split()
    code = mutate_code(source, get_operator(name)(), int(occurrence))
    if (
        code is None
        or not _is_python(code)
        or ast.dump(ast.parse(code)) == ast.dump(ast.parse(source))
    ):
        return None
    pairs = zip_longest(source.splitlines(), code.splitlines(), fillvalue="")
    before, after = next((old, new) for old, new in pairs if old != new)
    return replace(mutant, before=before.strip(), after=after.strip(), code=code)


def _is_python(code: str) -> bool:
    """Whether the code compiles: an operator may take the star of a signature for a product."""
    with contextlib.suppress(SyntaxError):
        return bool(compile(code, "mutant", "exec", dont_inherit=True))
    return False


def _try_mutants(
    drawn: list[Mutant], settings: Settings, options: argparse.Namespace
) -> list[Result]:
    """Try each mutant that was not noticed before, within the time."""
    file = RESULTS / f"seed-{options.seed}.json"
    results = _read_results(file)
    until = time.monotonic() + 60 * options.minutes
    guard = threading.Lock()

    def finish(result: Result) -> None:
        with guard:
            results[result.id] = result
            _write_results(file, results)
        print(_line_of(result), file=sys.stderr, flush=True)

    pool: queue.Queue[Copy] = queue.Queue()

    def attempt(mutant: Mutant) -> None:
        old = results.get(mutant.id)
        if old is not None and old.outcome == "noticed" and old.module == _digest(mutant.path):
            return
        reason = settings.equivalent(mutant.path, mutant.before, mutant.after)
        if reason is not None:
            finish(_result(mutant, "equivalent", reason, 0.0))
            return
        if time.monotonic() > until:
            return
        copy = pool.get()
        try:
            check = Check(arguments=settings.tests(mutant.path))
            outcome, by, seconds = copy.judge({mutant.path: mutant.code}, check)
        finally:
            pool.put(copy)
        finish(_result(mutant, outcome, by, seconds))

    for copy in copies(options.jobs):
        pool.put(copy)
    with ThreadPoolExecutor(options.jobs) as threads:
        list(threads.map(attempt, drawn))
    return [results[mutant.id] for mutant in drawn if mutant.id in results]


def _try_faults(entries: Sequence[tuple[str, Mapping[str, str], Check]]) -> int:
    """Try each fault with the check that should notice it."""
    results: dict[str, Result] = {}
    (copy,) = copies(1)
    for text, changes, check in entries:
        outcome, by, seconds = copy.judge(changes, check)
        place = " ".join(changes)
        result = Result(
            id=f"{text} {check.name}",
            place=place,
            change=text,
            outcome=outcome,
            by=by,
            seconds=round(seconds, 1),
            module=_digest(place),
        )
        results[result.id] = result
        print(_line_of(result), file=sys.stderr, flush=True)
    _write_results(RESULTS / "faults.json", results)
    return _tell_share(list(results.values()), 100.0)


def _result(mutant: Mutant, outcome: str, by: str, seconds: float) -> Result:
    """Say what became of a mutant."""
    return Result(
        id=mutant.id,
        place=f"{mutant.path}:{mutant.line}",
        change=f"{mutant.before}  →  {mutant.after}",
        outcome=outcome,
        by=by,
        seconds=round(seconds, 1),
        module=_digest(mutant.path),
    )


def _digest(path: str) -> str:
    """Give the SHA-256 of a module."""
    return sha256((ROOT / path).read_bytes()).hexdigest()


def _read_results(file: Path) -> dict[str, Result]:
    """Read the results of an earlier run."""
    if not file.exists():
        return {}
    return {entry["id"]: Result(**entry) for entry in json.loads(file.read_text())["results"]}


def _write_results(file: Path, results: Mapping[str, Result]) -> None:
    """Write the results down, survivors first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    ordered = sorted(
        results.values(), key=lambda result: (result.outcome == "noticed", result.place)
    )
    draft = file.with_suffix(".draft")
    draft.write_text(
        json.dumps(
            {"results": [asdict(result) for result in ordered]}, indent=1, ensure_ascii=False
        )
    )
    draft.replace(file)


def _line_of(result: Result) -> str:
    """Give a line about a result."""
    what = f"{result.place}  {result.change}  [{result.by}]"
    return f"{result.outcome:10} {result.seconds:6.1f} s  {what}"


def _tell_share(results: Sequence[Result], least: float) -> int:
    """Print what was not noticed, and the share of what was."""
    judged = [result for result in results if result.outcome != "equivalent"]
    noticed = sum(result.outcome == "noticed" for result in judged)
    for result in judged:
        if result.outcome != "noticed":
            print(_line_of(result))
    share = 100 * noticed / len(judged) if judged else 100.0
    equivalent = len(results) - len(judged)
    print(f"noticed {noticed} of {len(judged)} ({share:.1f} %), equivalent {equivalent}")
    return int(share < least)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
