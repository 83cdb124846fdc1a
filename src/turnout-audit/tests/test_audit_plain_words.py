"""Commands that start without typer: what is read plainly is what typer would have read."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout_audit.cli.commands import Form, Scope, find
from turnout_audit.cli.plain import read, typed

WORDS = [
    *("acme", "src", "a b", "", "-", "--", "json", "find", "sarif", "code", "known.json", "-x"),
    *("--json", "--no-json", "--fix", "--diff", "--self", "--help", "--nope", "--json=1"),
    *("--format", "--format=sarif", "--format=loud", "--form", "--scope", "--scope=docs"),
    *("--baseline", "--baseline=", "--baseline=a=b", "--output", "--update-baseline", "--engine"),
]


def caught(command: Callable[..., int], seen: list[dict[str, Any]]) -> Callable[..., int]:
    """Put what a command is given on a list, and do nothing."""

    @wraps(command)
    def run(**parameters: Any) -> int:
        seen.append(parameters)
        return 0

    return run


def by_typer(words: list[str]) -> dict[str, Any] | None:
    """Give what typer reads, or None where it refuses."""
    seen: list[dict[str, Any]] = []
    app = typer.Typer(add_completion=False)
    app.command()(typed(caught(find, seen)))
    try:
        app(words)
    except SystemExit:
        return seen[0] if seen else None
    raise AssertionError


def whole(parameters: dict[str, Any]) -> dict[str, Any]:
    """Fill in what a function has for what is not given; no paths is an empty list of them."""
    defaults = {name: each.default for name, each in inspect.signature(find).parameters.items()}
    found = {**defaults, **parameters}
    return {**found, "paths": found["paths"] or []}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=6))
def test_what_is_read_plainly_is_what_typer_reads(words: list[str]) -> None:
    """Never another meaning; what is in doubt is left to typer."""
    found = read(find, words)
    if found is not None:
        told = by_typer(words)
        assert told is not None
        assert whole(found) == whole(told)


def test_the_usual_forms_are_plain() -> None:
    """Hooks and pipelines start quickly, with whatever they are used to give."""
    words = [
        "acme",
        "a.ts",
        "--baseline",
        "known.json",
        "--format=sarif",
        "b.md",
        "--scope",
        "code",
    ]
    assert read(find, words) == {
        "ruleset": "acme",
        "paths": ["a.ts", "b.md"],
        "baseline": Path("known.json"),
        "form": Form.SARIF,
        "scope": Scope.CODE,
    }


@pytest.mark.parametrize(
    "words", [["--help"], ["acme", "--nope"], ["acme", "--format", "loud"], ["--json", "--json"]]
)
def test_what_needs_an_answer_is_left_to_typer(words: list[str]) -> None:
    """Help and errors have one author."""
    assert read(find, words) is None


def test_an_audit_starts_without_heavy_libraries(tmp_path: Path) -> None:
    """A commit hook does not wait for what an audit never uses."""
    (tmp_path / "a.md").write_text("nothing")
    code = (
        "import sys\nfrom turnout_audit.cli.app import run\n"
        f"try: run(['inngest', {str(tmp_path)!r}, '--json'])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'rich', 'asyncio', 'httpx', 'sqlalchemy', 'turnout'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """`turnout audit … | head` ends without a complaint."""
    (tmp_path / "a.md").write_text("Inngest is used.\n" * 5_000)
    code = f"from turnout_audit.cli.app import run; run(['inngest', {str(tmp_path)!r}])"
    command = f'{sys.executable} -c "{code}" | head -1; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == ["1"]
