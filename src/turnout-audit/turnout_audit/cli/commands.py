"""The commands of the group: find traces, show how they go away, test rules."""

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from turnout_audit.cli.audit import (
    CANNOT_TELL,
    CLEAN,
    TRACES,
    AuditOptions,
    Form,
    ScopeChoice,
    audit,
    exit_code,
    print_json,
)
from turnout_audit.errors import WrongArguments

if TYPE_CHECKING:
    from turnout_audit.history import HistoryPoint


class EngineChoice(StrEnum):
    """The engine that searches the text."""

    AUTO = "auto"
    RIPGREP = "ripgrep"
    RE2 = "re2"


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        sys.stdout.write(f"turnout-audit {version('turnout-audit')}\n")
        raise typer.Exit


AsJson = Annotated[bool, Option("--json", help="Report as JSON.")]


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
    stage_baseline: Annotated[
        bool, Option("--stage-baseline", help="Add the baseline to the commit when it changes.")
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
    select: Annotated[
        list[str] | None, Option(help="Report only these rules; globs, also by commas.")
    ] = None,
    ignore: Annotated[
        list[str] | None, Option(help="Do not report these rules; globs, also by commas.")
    ] = None,
    explain: Annotated[str | None, Option(help="Say what a rule is about; audit nothing.")] = None,
    terms: Annotated[
        Path | None, Option(help="What fixes of documents say instead of the vendor's terms.")
    ] = None,
    to: Annotated[str | None, Option(help="The name of what comes after the vendor.")] = None,
    phase: Annotated[
        int | None, Option(min=0, max=9, help="The phase of the migration that shall hold.")
    ] = None,
    since: Annotated[
        str | None, Option(help="A commit or branch: only lines that changed since then.")
    ] = None,
    version: Annotated[
        bool, Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Find every trace of a vendor. Exit 0 clean, 1 findings, 2 wrong use, 3 could not tell.

    `history RULESET` shows the burndown over a repository's history, `check RULESET` runs the
    examples of a rule set's own rules, `rules RULESET` lists the rules, `terms RULESET` prints a
    start for `--terms`, `removed RULESET` imports the project in an environment without the vendor.
    """
    del engine, version
    options = AuditOptions(
        ruleset=ruleset,
        paths=tuple(paths or ()),
        form=Form.JSON if as_json else form,
        scope=scope,
        baseline=baseline,
        update_baseline=update_baseline,
        stage_baseline=stage_baseline,
        fix=fix,
        unsafe_fixes=unsafe_fixes,
        diff=diff,
        itself=itself,
        output=output,
        select=tuple(select or ()),
        ignore=tuple(ignore or ()),
        explain=explain,
        terms=terms,
        to=to,
        phase=phase,
        since=since,
    )
    raise typer.Exit(exit_code(lambda: audit(options)))


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
    from turnout_audit import history as past
    from turnout_audit import load

    def command() -> int:
        rules = load.load(ruleset)
        commits = past.burndown(rules, repository, points=points, since=since, paths=paths or [])
        if not commits:
            raise WrongArguments(f"no commits in {repository}")
        if as_json:
            print_json({"ruleset": rules.ruleset, "commits": [*map(_point, commits)]})
        else:
            sys.stdout.write(past.table(commits))
        if svg is not None:
            svg.write_text(past.plot(commits, rules.title), encoding="utf-8")
        head = commits[-1]
        doubtful = CANNOT_TELL if head.skipped or head.problems else CLEAN
        return TRACES if head.findings else doubtful

    raise typer.Exit(exit_code(command))


def check(
    rulesets: Annotated[list[str], Argument(help="Rule sets' names, or .toml files.")],
    as_json: AsJson = False,
) -> None:
    """Run the examples of rules, which are their tests. Exit 0 all hold, 1 some fail."""
    from turnout_audit import examples, load

    def command() -> int:
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
            print_json({"checked": results})
        else:
            sys.stdout.write("".join(map(_check_result, results)))
        return TRACES if any(result["faults"] for result in results) else CLEAN

    raise typer.Exit(exit_code(command))


def rules(
    ruleset: Annotated[str, Argument(help="A rule set's name, or a .toml file.")],
    as_json: AsJson = False,
) -> None:
    """List the rules of a rule set by their codes."""
    from turnout_audit import codes, load

    def command() -> int:
        listed = codes.listed(load.load(ruleset))
        if as_json:
            print_json({"ruleset": ruleset, "rules": listed})
        else:
            lines = (f"{rule['rule']:<34} {rule['level']:<10} {rule['why']}\n" for rule in listed)
            sys.stdout.write("".join(lines))
        return CLEAN

    raise typer.Exit(exit_code(command))


def terms(
    ruleset: Annotated[str, Argument(help="A rule set's name, or a .toml file.")],
) -> None:
    """Print the terms of a rule set, as a start for a file for --terms."""
    from turnout_audit import load
    from turnout_audit import terms as team_terms

    def command() -> int:
        sys.stdout.write(team_terms.starter(load.load(ruleset)))
        return CLEAN

    raise typer.Exit(exit_code(command))


def removed(
    ruleset: Annotated[str, Argument(help="A vendor's rule set, or a .toml file.")],
    project: Annotated[Path, Argument(help="The folder of the manifest.")] = Path(),
    entries: Annotated[
        list[str] | None,
        Option(
            "--import", help="A module of Python (`app.*`: with all below), or a script's path."
        ),
    ] = None,
    requirements: Annotated[
        list[Path] | None, Option(help="Files to install from, in place of pyproject.toml.")
    ] = None,
    extra: Annotated[list[str] | None, Option(help="An extra to install as well.")] = None,
    group: Annotated[list[str] | None, Option(help="A dependency group to install.")] = None,
    python: Annotated[str, Option(help="The Python to make the environment with.")] = "",
    env: Annotated[list[str] | None, Option(help="NAME=VALUE for the imported code.")] = None,
    seconds: Annotated[float, Option(min=1, help="How long one step may take.")] = 600,
    as_json: AsJson = False,
) -> None:
    """Install a project without the vendor's packages, and import it. Runs the project's code.

    Exit 0 nothing asks for the vendor, 1 something does, 3 could not tell.
    """
    from turnout_audit import load, removal
    from turnout_audit.render import removed as report

    def command() -> int:
        proof = removal.prove(
            load.load(ruleset),
            removal.Removal(
                project=project,
                entries=entries or (),
                requirements=requirements or (),
                extras=extra or (),
                groups=group or (),
                interpreter=python,
                variables=dict(map(_variable, env or ())),
                seconds=seconds,
            ),
        )
        if as_json:
            print_json(report.document(proof))
        else:
            sys.stdout.write(report.text(proof))
        if proof.requests:
            return TRACES
        return CANNOT_TELL if proof.problems else CLEAN

    raise typer.Exit(exit_code(command))


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise WrongArguments(f"--env needs NAME=VALUE, not {text!r}")
    return name, value


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
