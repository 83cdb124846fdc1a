"""`turnout audit`: find every trace of a vendor, mend it, and show how it goes away."""

import gc
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from turnout_audit.cli.plain import argument, option
from turnout_audit.errors import AuditError, InvalidSettings, WrongUse

CLEAN, FOUND, UNTOLD = 0, 1, 2
RARELY = 100_000
"""Objects after which cycles are looked for: what an audit makes is freed without."""


class Form(StrEnum):
    """How a report is written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    MARKDOWN = "markdown"


class Scope(StrEnum):
    """Which files are looked at."""

    ALL = "all"
    DOCS = "docs"
    CODE = "code"
    CONFIG = "config"


class EngineChoice(StrEnum):
    """What searches the text."""

    AUTO = "auto"
    RIPGREP = "ripgrep"
    RE2 = "re2"


def find(
    ruleset: Annotated[str, argument("A rule set's name, or the path of a .toml file.")] = "",
    paths: Annotated[list[str] | None, argument("Folders and files.")] = None,
    form: Annotated[Form, option("--format", help="How to report.")] = Form.TEXT,
    scope: Annotated[Scope, option(help="Which files to look at.")] = Scope.ALL,
    baseline: Annotated[
        Path | None, option(help="Known findings; new ones fail, the file shrinks.")
    ] = None,
    update_baseline: Annotated[
        bool, option("--update-baseline", help="Take all findings as known.")
    ] = False,
    fix: Annotated[bool, option("--fix", help="Apply the safe fixes.")] = False,
    unsafe_fixes: Annotated[
        bool, option("--unsafe-fixes", help="Apply also those that need a look.")
    ] = False,
    diff: Annotated[
        bool, option("--diff", help="Show what fixing would change; write nothing.")
    ] = False,
    as_json: Annotated[bool, option("--json", help="The same as --format json.")] = False,
    itself: Annotated[
        bool, option("--self", help="Audit this package: its core names no vendor.")
    ] = False,
    engine: Annotated[EngineChoice, option(help="What searches the text.")] = EngineChoice.AUTO,
    output: Annotated[Path | None, option(help="Write the report to a file.")] = None,
) -> int:
    """Find every trace of a vendor. Exit 0 clean, 1 findings, 2 could not tell.

    `turnout audit history RULESET` shows the burndown over a repository's history,
    `turnout audit check RULESET` runs the examples of a rule set's own rules.
    """
    chosen = Form.JSON if as_json else form
    where = _Where(ruleset, paths or [], scope, engine)
    return _told(
        lambda: _find(
            _itself(where) if itself else where,
            chosen,
            baseline=baseline,
            update=update_baseline,
            mend=_Mend(fix or unsafe_fixes, unsafe_fixes, diff),
            output=output,
        )
    )


def history(
    ruleset: Annotated[str, argument("A rule set's name, or a .toml file.")],
    repository: Annotated[str, argument("A git repository.")] = ".",
    paths: Annotated[list[str] | None, argument("Folders in it.")] = None,
    points: Annotated[int, option(least=2, most=500, help="How many commits.")] = 20,
    since: Annotated[str, option(help="A date, as git understands it.")] = "",
    svg: Annotated[Path | None, option(help="Draw the plot into this file.")] = None,
    as_json: Annotated[bool, option("--json", help="Report as JSON.")] = False,
) -> int:
    """Show the burndown over git history, as a table and a plot."""
    return _told(lambda: _history(ruleset, repository, paths or [], points, since, svg, as_json))


def check(
    rulesets: Annotated[list[str], argument("Rule sets' names, or .toml files.")],
    as_json: Annotated[bool, option("--json", help="Report as JSON.")] = False,
) -> int:
    """Run the examples of rules, which are their tests. Exit 0 all hold, 1 some fail."""
    return _told(lambda: _check(rulesets, as_json))


class _Where:
    def __init__(
        self, ruleset: str, paths: Sequence[str], scope: Scope, engine: EngineChoice
    ) -> None:
        self.ruleset = ruleset
        self.paths = list(paths)
        self.scope = scope
        self.engine = engine


class _Mend:
    def __init__(self, wanted: bool, unsafe: bool, diff: bool) -> None:
        self.wanted = wanted or diff
        self.unsafe = unsafe
        self.diff = diff


def _told(work: Callable[[], int]) -> int:
    """Run; an error of ours is told in its own words."""
    try:
        return work()
    except AuditError as error:
        _aside(f"error: {error}")
        return UNTOLD
    except BrokenPipeError:
        raise
    except OSError as error:
        _aside(f"error: {error.filename}: {error.strerror or error}")
        return UNTOLD


def _aside(line: str) -> None:
    """Tell what is no result."""
    sys.stderr.write(f"{line}\n")


def _itself(where: _Where) -> _Where:
    """Take our own rule set, and our own source with that of `turnout`, where it is installed."""
    from importlib.util import find_spec

    package = Path(__file__).parents[1]
    core = find_spec("turnout")
    folders = [package, *map(Path, core.submodule_search_locations or () if core else ())]
    paths = [where.ruleset, *where.paths] if where.ruleset else [str(each) for each in folders]
    return _Where(str(package / "self.toml"), paths, where.scope, where.engine)


def _find(
    where: _Where,
    form: Form,
    *,
    baseline: Path | None,
    update: bool,
    mend: _Mend,
    output: Path | None,
) -> int:
    _libraries()
    from turnout_audit import engine, ruleset

    if not where.ruleset or not where.paths:
        known = ", ".join(ruleset.names())
        raise WrongUse(f"give a rule set ({known}, or a .toml file) and the paths to look at")
    if update and baseline is None:
        raise WrongUse("--update-baseline needs --baseline FILE")
    rules = ruleset.load(where.ruleset)
    gc.set_threshold(RARELY)

    def audit() -> Any:
        return engine.audit(
            rules,
            where.paths,
            scope=where.scope.value,
            engine=where.engine.value,
            without=[str(path) for path in (baseline, output) if path is not None],
        )

    report = audit()
    if mend.wanted:
        if _mended(rules, report, mend):
            report = audit()
        if mend.diff:
            return _code(report)
    if baseline is not None:
        report = _ratchet(report, baseline, update=update)
    _written(report, rules, form, output)
    if not report.counted.files:
        _aside("note: nothing was searched: no file of this kind, or all are ignored")
    return _code(report)


def _code(report: Any) -> int:
    if report.findings:
        return FOUND
    return UNTOLD if report.problems else CLEAN


def _libraries() -> None:
    """Refuse, naming all that is missing."""
    from importlib.util import find_spec

    needed = {"re2": "google-re2", "ast_grep_py": "ast-grep-py", "yaml": "pyyaml"}
    missing = [package for module, package in needed.items() if find_spec(module) is None]
    if missing:
        raise InvalidSettings(
            f"the audit needs {', '.join(missing)}: "
            "install turnout-audit with its dependencies: pip install turnout-audit"
        )


def _mended(rules: Any, report: Any, mend: _Mend) -> bool:
    """Preview or apply the fixes, and name what they left; true if files changed."""
    from turnout_audit import patch, scan
    from turnout_audit.render.text import plain

    planned = patch.plan(scan.Scanner(rules), report.findings, unsafe=mend.unsafe)
    problems = list(planned.problems)
    if mend.diff:
        for change in planned.changes:
            sys.stdout.write(_safe(change.diff()))
    else:
        problems += patch.write(planned.changes)
        count = sum(change.applied for change in planned.changes)
        _aside(f"fixed {count} in {len(planned.changes)} file(s)")
    for left in planned.left:
        place = f"{plain(left.finding.path)}:{left.finding.line}"
        _aside(f"left alone: {place}: {left.finding.rule}: {left.reason}")
    for problem in problems:
        _aside(f"{plain(problem.path)}: {problem.reason}")
    return bool(planned.changes) and not mend.diff


def _ratchet(report: Any, path: Path, *, update: bool) -> Any:
    from turnout_audit import baseline

    if update:
        none = baseline.Baseline(report.ruleset, Counter(), str(path.parent))
        old = baseline.load(path) if path.exists() else none
        baseline.save(path, baseline.updated(report, old))
        _aside(f"{path}: {len(report.findings)} findings are known now")
    known = baseline.load(path)
    compared = baseline.compared(report, known)
    smaller = baseline.shrunk(compared, known)
    if smaller != known:
        baseline.save(path, smaller)
        change = f"{compared.gone} fewer" if compared.gone else "findings moved"
        _aside(f"{path}: {change}; commit the file")
    return compared


def _written(report: Any, rules: Any, form: Form, output: Path | None) -> None:
    from turnout_audit.render import render

    text = _safe(render(report, rules, form.value))
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


def _safe(text: str) -> str:
    """Write out what has no place in UTF-8: names of files may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _history(
    name: str,
    repository: str,
    paths: Sequence[str],
    points: int,
    since: str,
    svg: Path | None,
    as_json: bool,
) -> int:
    _libraries()
    from turnout_audit import history, ruleset

    rules = ruleset.load(name)
    found = history.burndown(rules, repository, points=points, since=since, paths=paths)
    if not found:
        raise WrongUse(f"no commits in {repository}")
    if as_json:
        told = {"ruleset": rules.ruleset, "commits": [_point(point) for point in found]}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        sys.stdout.write(history.table(found))
    if svg is not None:
        svg.write_text(history.plot(found, rules.title), encoding="utf-8")
    head = found[-1]
    if head.findings:
        return FOUND
    return UNTOLD if head.skipped or head.problems else CLEAN


def _point(point: Any) -> dict[str, Any]:
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


def _check(names: Sequence[str], as_json: bool) -> int:
    _libraries()
    from turnout_audit import examples, ruleset

    loaded = [ruleset.load(name) for name in names]
    faults = {name: examples.faults(rules) for name, rules in zip(names, loaded, strict=True)}
    told = [
        {
            "ruleset": name,
            "rules": len(rules.rules),
            "examples": sum(len(rule.example) for rule in rules.rules),
            "faults": faults[name],
        }
        for name, rules in zip(names, loaded, strict=True)
    ]
    if as_json:
        sys.stdout.write(json.dumps({"checked": told}, indent=2) + "\n")
    else:
        sys.stdout.write("".join(_checked(each) for each in told))
    return FOUND if any(faults.values()) else CLEAN


def _checked(told: dict[str, Any]) -> str:
    from turnout_audit.render.text import plain

    faults = [f"{told['ruleset']}: {plain(fault)}\n" for fault in told["faults"]]
    counted = f"{told['examples']} examples of {told['rules']} rules"
    return "".join(faults) + f"{told['ruleset']}: {counted}; faults: {len(faults)}\n"
