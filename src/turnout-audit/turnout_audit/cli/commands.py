"""The commands: find traces and fix them, show how they go away, test rules."""

import gc
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from turnout_audit.errors import AuditError, WrongArguments

if TYPE_CHECKING:
    from turnout_audit.history import HistoryPoint
    from turnout_audit.model import AuditReport
    from turnout_audit.ruleset import Ruleset

CLEAN, TRACES, CANNOT_TELL = 0, 1, 2
"""Exit codes."""
GC_THRESHOLD = 100_000
"""Objects after which cycles are looked for: what an audit makes is freed without."""


class Form(StrEnum):
    """How a report is written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    MARKDOWN = "markdown"


class ScopeChoice(StrEnum):
    """Which files are looked at."""

    ALL = "all"
    DOCS = "docs"
    CODE = "code"
    CONFIG = "config"


class EngineChoice(StrEnum):
    """The engine that searches the text."""

    AUTO = "auto"
    RIPGREP = "ripgrep"
    RE2 = "re2"


AsJson = Annotated[bool, Option("--json", help="Report as JSON.")]


@dataclass(frozen=True, kw_only=True)
class Fixing:
    """What `find` does with fixes."""

    unsafe: bool
    preview: bool


def find(
    ruleset: Annotated[str, Argument(help="A rule set's name, or the path of a .toml file.")] = "",
    paths: Annotated[list[str] | None, Argument(help="Folders and files.")] = None,
    form: Annotated[Form, Option("--format", help="How to report.")] = Form.TEXT,
    scope: Annotated[ScopeChoice, Option(help="Which files to look at.")] = ScopeChoice.ALL,
    baseline: Annotated[
        Path | None, Option(help="Known findings; new ones fail, the file shrinks.")
    ] = None,
    update_baseline: Annotated[
        bool, Option("--update-baseline", help="Take all findings as known.")
    ] = False,
    fix: Annotated[bool, Option("--fix", help="Apply the safe fixes.")] = False,
    unsafe_fixes: Annotated[
        bool, Option("--unsafe-fixes", help="Apply also those that need a look.")
    ] = False,
    diff: Annotated[
        bool, Option("--diff", help="Show what fixing would change; write nothing.")
    ] = False,
    as_json: Annotated[bool, Option("--json", help="The same as --format json.")] = False,
    itself: Annotated[
        bool, Option("--self", help="Audit this program: its code names no vendor.")
    ] = False,
    engine: Annotated[
        EngineChoice, Option(help="Has no effect: ripgrep searches.", hidden=True)
    ] = EngineChoice.AUTO,
    output: Annotated[Path | None, Option(help="Write the report to a file.")] = None,
) -> None:
    """Find every trace of a vendor. Exit 0 clean, 1 findings, 2 could not tell.

    `history RULESET` shows the burndown over a repository's history, `check RULESET` runs the
    examples of a rule set's own rules.
    """
    del engine
    with _one_line_errors():
        from turnout_audit import engine as auditor
        from turnout_audit import load

        places = paths or []
        if itself:
            ruleset, places = _own_source([ruleset, *places] if ruleset else [])
        if not ruleset or not places:
            names = ", ".join(load.names())
            raise WrongArguments(
                f"give a rule set ({names}, or a .toml file) and the paths to look at"
            )
        if update_baseline and baseline is None:
            raise WrongArguments("--update-baseline needs --baseline FILE")
        rules = load.load(ruleset)
        gc.set_threshold(GC_THRESHOLD)
        outputs = [str(path) for path in (baseline, output) if path is not None]

        def audit() -> "AuditReport":
            return auditor.audit(rules, places, scope=scope.value, without=outputs)

        report = audit()
        if fix or unsafe_fixes or diff:
            if _apply_fixes(rules, report, Fixing(unsafe=unsafe_fixes, preview=diff)):
                report = audit()
            if diff:
                raise typer.Exit(_exit_code(report))
        if baseline is not None:
            report = _ratchet(report, baseline, update=update_baseline)
        _write_report(report, rules, Form.JSON if as_json else form, output)
        if not report.counted.files:
            _note("note: nothing was searched: no file of this kind, or all are ignored")
        raise typer.Exit(_exit_code(report))


def history(
    ruleset: Annotated[str, Argument(help="A rule set's name, or a .toml file.")],
    repository: Annotated[str, Argument(help="A git repository.")] = ".",
    paths: Annotated[list[str] | None, Argument(help="Folders in it.")] = None,
    points: Annotated[int, Option(min=2, max=500, help="How many commits.")] = 20,
    since: Annotated[str, Option(help="A date, as git understands it.")] = "",
    svg: Annotated[Path | None, Option(help="Draw the plot into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the burndown over git history, as a table and a plot."""
    with _one_line_errors():
        from turnout_audit import history as past
        from turnout_audit import load

        rules = load.load(ruleset)
        commits = past.burndown(rules, repository, points=points, since=since, paths=paths or [])
        if not commits:
            raise WrongArguments(f"no commits in {repository}")
        if as_json:
            _print_json({"ruleset": rules.ruleset, "commits": [*map(_point, commits)]})
        else:
            sys.stdout.write(past.table(commits))
        if svg is not None:
            svg.write_text(past.plot(commits, rules.title), encoding="utf-8")
        head = commits[-1]
        doubtful = CANNOT_TELL if head.skipped or head.problems else CLEAN
        raise typer.Exit(TRACES if head.findings else doubtful)


def check(
    rulesets: Annotated[list[str], Argument(help="Rule sets' names, or .toml files.")],
    as_json: AsJson = False,
) -> None:
    """Run the examples of rules, which are their tests. Exit 0 all hold, 1 some fail."""
    with _one_line_errors():
        from turnout_audit import examples, load

        results = [
            {
                "ruleset": name,
                "rules": len(rules.rules),
                "examples": sum(len(rule.example) for rule in rules.rules),
                "faults": examples.faults(rules),
            }
            for name, rules in [(name, load.load(name)) for name in rulesets]
        ]
        if as_json:
            _print_json({"checked": results})
        else:
            sys.stdout.write("".join(map(_check_result, results)))
        raise typer.Exit(TRACES if any(result["faults"] for result in results) else CLEAN)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Show an error of ours, or of a file, in one line."""
    try:
        yield
    except BrokenPipeError:
        raise
    except AuditError as error:
        _note(f"error: {error}")
        raise typer.Exit(CANNOT_TELL) from None
    except OSError as error:
        _note(f"error: {error.filename}: {error.strerror or error}")
        raise typer.Exit(CANNOT_TELL) from None


def _note(line: str) -> None:
    """Print a note on stderr."""
    sys.stderr.write(f"{line}\n")


def _print_json(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _own_source(paths: list[str]) -> tuple[str, list[str]]:
    """Return our own rule set, and our own source with that of `turnout`, where it is installed."""
    from importlib.util import find_spec

    package = Path(__file__).parents[1]
    core = find_spec("turnout")
    folders = [package, *map(Path, core.submodule_search_locations or () if core else ())]
    return str(package / "self.toml"), paths or [str(folder) for folder in folders]


def _exit_code(report: "AuditReport") -> int:
    if report.findings:
        return TRACES
    return CANNOT_TELL if report.problems else CLEAN


def _apply_fixes(rules: "Ruleset", report: "AuditReport", fixing: Fixing) -> bool:
    """Preview or apply the fixes, and name what they left; true if files changed."""
    from turnout_audit import patch, scan
    from turnout_audit.render.text import plain

    planned = patch.plan(scan.Scanner(rules), report.findings, unsafe=fixing.unsafe)
    problems = list(planned.problems)
    if fixing.preview:
        for change in planned.changes:
            sys.stdout.write(_printable(change.diff()))
    else:
        problems += patch.write(planned.changes)
        count = sum(change.applied for change in planned.changes)
        _note(f"fixed {count} in {len(planned.changes)} file(s)")
    for unfixed in planned.unfixed:
        place = f"{plain(unfixed.finding.path)}:{unfixed.finding.line}"
        _note(f"left alone: {place}: {unfixed.finding.rule}: {unfixed.reason}")
    for problem in problems:
        _note(f"{plain(problem.path)}: {problem.reason}")
    return bool(planned.changes) and not fixing.preview


def _ratchet(report: "AuditReport", path: Path, *, update: bool) -> "AuditReport":
    from turnout_audit import baseline

    if update:
        empty = baseline.Baseline(report.ruleset, Counter(), str(path.parent))
        before = baseline.load(path) if path.exists() else empty
        baseline.save(path, baseline.updated(report, before))
        _note(f"{path}: {len(report.findings)} findings are known now")
    accepted = baseline.load(path)
    compared = baseline.compared(report, accepted)
    smaller = baseline.shrunk(compared, accepted)
    if smaller != accepted:
        baseline.save(path, smaller)
        change = f"{compared.resolved} fewer" if compared.resolved else "findings moved"
        _note(f"{path}: {change}; commit the file")
    return compared


def _write_report(report: "AuditReport", rules: "Ruleset", form: Form, output: Path | None) -> None:
    from turnout_audit.render import render

    text = _printable(render(report, rules, form.value))
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


def _printable(text: str) -> str:
    """Escape what is not UTF-8: names of files may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _point(point: "HistoryPoint") -> dict[str, Any]:
    return {
        "commit": point.commit,
        "at": point.at.isoformat(),
        "subject": point.subject,
        "findings": point.findings,
        "levels": point.levels,
        "rules": point.rules,
        "skipped": point.skipped,
        "problems": point.problems,
    }


def _check_result(result: Mapping[str, Any]) -> str:
    from turnout_audit.render.text import plain

    faults = [f"{result['ruleset']}: {plain(fault)}\n" for fault in result["faults"]]
    counts = f"{result['examples']} examples of {result['rules']} rules"
    return "".join(faults) + f"{result['ruleset']}: {counts}; faults: {len(faults)}\n"
