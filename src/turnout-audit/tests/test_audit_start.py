"""A plain audit starts without the libraries that it does not need, and means the same."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout_audit.cli import commands
from turnout_audit.cli.audit import AuditOptions
from turnout_audit.cli.group import app
from turnout_audit.cli.plain import plain_options

ASIDE = ("typer", "pydantic", "pathspec", "yaml", "asyncio")
"""What takes long to import, and is not needed to audit by a rule set that ships."""
OPTIONS = st.sampled_from(
    [
        *(
            ["--json"],
            ["--fix"],
            ["--unsafe-fixes"],
            ["--diff"],
            ["--update-baseline"],
            ["--stage-baseline"],
        ),
        *(["--self"],),
        *(["--format", "sarif"], ["--format=markdown"], ["--scope", "docs"], ["--scope=config"]),
        *(["--phase", "0"], ["--select", "a.*,b"], ["--ignore=x"], ["--to", "Acme"]),
        *(
            ["--explain", "a"],
            ["--terms=t.toml"],
            ["--baseline", "known.json"],
            ["--output=report.json"],
            ["src"],
            ["a b/c"],
            ["."],
        ),
    ]
)


def test_an_audit_by_a_rule_set_that_ships_imports_neither_typer_nor_pydantic(
    tmp_path: Path,
) -> None:
    """Also with a baseline."""
    (tmp_path / "a.ts").write_text('import { Inngest } from "inngest";\n')
    (tmp_path / "known.json").write_text('{"version": 1, "ruleset": "inngest", "files": {}}')
    program = (
        "import sys\nfrom turnout_audit.cli.app import run\ntry:\n"
        "    run(['inngest', '.', '--json', '--baseline', 'known.json'])\n"
        f"finally:\n    print([name for name in {ASIDE} if name in sys.modules], file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (1, "[]\n")


@given(
    st.lists(OPTIONS, max_size=8).map(lambda groups: [word for group in groups for word in group])
)
@settings(max_examples=60, deadline=None)
def test_plain_words_mean_what_typer_reads(words: list[str]) -> None:
    """Whatever is read without typer, typer reads alike."""
    read: list[AuditOptions] = []
    arguments = ["inngest", *words]
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(commands, "audit", lambda options: read.append(options) or 0)
        typer.main.get_command(app).main(arguments, standalone_mode=False)
    assert plain_options(arguments) == read[0]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["--version"],
        ["inngest", "--help"],
        ["history", "inngest"],
        ["inngest", ".", "--format", "loud"],
        ["inngest", ".", "--format"],
        ["inngest", ".", "--nope"],
        ["inngest", ".", "--phase", "ten"],
        ["inngest", ".", "--select"],
        ["rules", "inngest"],
        ["terms", "inngest"],
        ["inngest", "--", "-odd"],
    ],
)
def test_everything_else_is_left_to_typer(words: list[str]) -> None:
    """Help, other commands, and faults, which typer names."""
    assert plain_options(words) is None


def test_every_option_of_an_audit_is_read_by_both() -> None:
    """But the one that has no effect, and the one that audits nothing."""
    fields: set[Any] = set(AuditOptions.__dataclass_fields__)
    parameters = {p.name for p in typer.main.get_command(app).commands["find"].params}  # type: ignore[attr-defined]
    assert parameters - fields == {"as_json", "engine", "version"}
