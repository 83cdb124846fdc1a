"""One audit from the command line: find, fix, compare with the baseline, report.

Nothing here needs the library of the command line, whose import takes as long as a small audit.
"""

import gc
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout_audit.errors import AuditError, CannotTell, WrongArguments

if TYPE_CHECKING:
    from turnout_audit.changes import Change
    from turnout_audit.model import AuditReport
    from turnout_audit.ruleset import Ruleset
    from turnout_audit.scan import Scanner

CLEAN, TRACES, WRONG_USE, CANNOT_TELL = 0, 1, 2, 3
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


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What the command line asks of an audit."""

    ruleset: str = ""
    paths: Sequence[str] = ()
    form: Form = Form.TEXT
    scope: ScopeChoice = ScopeChoice.ALL
    baseline: Path | None = None
    update_baseline: bool = False
    stage_baseline: bool = False
    fix: bool = False
    unsafe_fixes: bool = False
    diff: bool = False
    itself: bool = False
    output: Path | None = None
    select: Sequence[str] = ()
    ignore: Sequence[str] = ()
    explain: str | None = None
    terms: Path | None = None
    to: str | None = None
    phase: int | None = None
    since: str | None = None


def exit_code(command: Callable[[], int]) -> int:
    """Run a command; an error of ours, or of a file, is one line on stderr."""
    try:
        return command()
    except BrokenPipeError:
        raise
    except CannotTell as error:
        note(f"turnout-audit: {error}")
        return CANNOT_TELL
    except AuditError as error:
        note(f"turnout-audit: {error}")
    except OSError as error:
        note(f"turnout-audit: {error.filename}: {error.strerror or error}")
    return WRONG_USE


def audit(options: AuditOptions) -> int:
    """Find every trace of a vendor, report, and return the exit code."""
    from turnout_audit import changes, codes, engine, load

    if options.ruleset and options.explain is not None:
        sys.stdout.write(codes.explained(load.load(options.ruleset), options.explain))
        return CLEAN
    ruleset, places = _what_to_audit(options)
    rules = _in_terms(load.load(ruleset), options)
    reported = codes.reported(rules, options.select, options.ignore, options.phase)
    gc.set_threshold(GC_THRESHOLD)
    new = _changes(options, places)
    outputs = [str(path) for path in (options.baseline, options.output) if path is not None]
    audited = partial(
        engine.audit,
        rules,
        places,
        scope=options.scope.value,
        without=outputs,
        phase=options.phase,
        codes=reported,
        limited_to=new,
    )
    report = audited()
    if options.fix or options.unsafe_fixes or options.diff:
        scanner = engine.scanner_of(rules, phase=options.phase, codes=reported)
        if _apply_fixes(scanner, report, options):
            report = audited()
        if options.diff:
            return _exit_code(report)
    if options.baseline is not None:
        report = _ratchet(report, options, options.baseline)
    if new is not None:
        report = changes.narrowed(report, new)
    _write_report(report, rules, options)
    if not report.counted.files:
        note("note: nothing was searched: no file of this kind, or all are ignored")
    return _exit_code(report)


def _what_to_audit(options: AuditOptions) -> tuple[str, list[str]]:
    """Return the rule set's name and the paths; raises WrongArguments where one is missing."""
    from turnout_audit import load

    ruleset, places = options.ruleset, list(options.paths)
    if options.itself:
        ruleset, places = _own_source([ruleset, *places] if ruleset else [])
    if not ruleset or not places:
        names = ", ".join(load.names())
        raise WrongArguments(f"give a rule set ({names}, or a .toml file) and the paths to look at")
    if options.update_baseline and options.baseline is None:
        raise WrongArguments("--update-baseline needs --baseline FILE")
    return ruleset, places


def _changes(options: AuditOptions, places: Sequence[str]) -> "dict[str, Change] | None":
    """Read what changed, where only that is asked for."""
    from turnout_audit import changes

    if options.since is None:
        return None
    if options.fix or options.unsafe_fixes or options.diff or options.update_baseline:
        raise WrongArguments("--since reports only: it neither fixes nor updates a baseline")
    return changes.since(options.since, places)


def _in_terms(rules: "Ruleset", options: AuditOptions) -> "Ruleset":
    """Take the team's own terms, and the successor's name."""
    from turnout_audit import terms

    table = None if options.terms is None else terms.load(options.terms)
    return terms.applied(rules, to=options.to, terms=table)


def note(line: str) -> None:
    """Print a note on stderr."""
    sys.stderr.write(f"{line}\n")


def print_json(value: Mapping[str, Any]) -> None:
    """Print a JSON document."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _own_source(paths: list[str]) -> tuple[str, list[str]]:
    """Return our own rule set, and our own source with that of `turnout`, where it is installed."""
    from importlib.util import find_spec

    package = Path(__file__).parents[1]
    core = find_spec("turnout")
    folders = [package, *map(Path, core.submodule_search_locations or () if core else ())]
    return str(package / "self.toml"), paths or [str(folder) for folder in folders]


def _exit_code(report: "AuditReport") -> int:
    if report.findings or report.unclassified:
        return TRACES
    return CANNOT_TELL if report.problems else CLEAN


def _apply_fixes(scanner: "Scanner", report: "AuditReport", options: AuditOptions) -> bool:
    """Preview or apply the fixes, and name what they left; true if files changed."""
    from turnout_audit import patch
    from turnout_audit.model import FileProblem
    from turnout_audit.render.text import plain, plural

    planned = patch.plan(scanner, report.findings, unsafe=options.unsafe_fixes)
    problems = list(planned.problems)
    if options.diff:
        for change in planned.changes:
            if change.encoding == "utf-8":
                sys.stdout.write(_printable(change.diff()))
            else:
                reason = f"not in the patch, which is UTF-8: the file is in {change.encoding}"
                problems.append(FileProblem(path=change.path, reason=reason))
    else:
        failed = patch.write(planned.changes)
        problems += failed
        left = {problem.path for problem in failed}
        written = [change for change in planned.changes if change.path not in left]
        count, files = sum(change.applied for change in written), len(written)
        note(f"fixed {count} in {files} {plural(files, 'file')}")
    for unfixed in planned.unfixed:
        place = f"{plain(unfixed.finding.path)}:{unfixed.finding.line}"
        note(f"left alone: {place}: {unfixed.finding.rule}: {unfixed.reason}")
    for problem in problems:
        note(f"{plain(problem.path)}: {problem.reason}")
    return bool(planned.changes) and not options.diff


def _ratchet(report: "AuditReport", options: AuditOptions, path: Path) -> "AuditReport":
    from turnout_audit import baseline, git
    from turnout_audit.render.text import plural

    if options.update_baseline:
        empty = baseline.Baseline(report.ruleset, Counter(), str(path.parent))
        before = baseline.load(path) if path.exists() else empty
        baseline.save(path, baseline.updated(report, before))
        count = len(report.findings) + len(report.unclassified)
        note(f"{path}: {count} {plural(count, 'finding')} known from now on")
    accepted = baseline.load(path)
    compared = baseline.compared(report, accepted)
    smaller = baseline.shrunk(compared, accepted)
    if smaller != accepted:
        baseline.save(path, smaller)
        change = f"{compared.resolved} fewer" if compared.resolved else "findings moved"
        if options.stage_baseline:
            git.stage(path)
        note(f"{path}: {change}" + ("" if options.stage_baseline else "; commit the file"))
    return compared


def _write_report(report: "AuditReport", rules: "Ruleset", options: AuditOptions) -> None:
    from turnout_audit.render import render

    text = _printable(render(report, rules, options.form.value))
    if options.output is None:
        sys.stdout.write(text)
    else:
        options.output.write_text(text, encoding="utf-8")


def _printable(text: str) -> str:
    """Escape what is not UTF-8: names of files may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()
