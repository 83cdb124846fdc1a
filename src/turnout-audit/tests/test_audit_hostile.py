"""A hostile tree: the audit ends, names what it could not read, and is silent about nothing."""

import json
import os
from pathlib import Path

import pytest
from turnout_audit.cli.audit import AuditOptions, Form, audit

from scripts.hostile_tree import silent, write


@pytest.mark.parametrize("repository", [True, False])
def test_a_hostile_tree_is_audited(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    repository: bool,
) -> None:
    """Hits on one line, deep nesting, odd names, pipes, circles; `scripts/hostile_tree.py`."""
    tree = tmp_path / "tree"
    write(tree, "inngest", megabytes=0.3, files=40, depth=3_000)
    if repository:
        os.system(f"git init -q {tree}")
    monkeypatch.chdir(tree)
    assert audit(AuditOptions(ruleset="inngest", paths=["."], form=Form.JSON)) == 1
    report = json.loads(capsys.readouterr().out)
    assert silent(tree, "inngest", report) == []
    assert report["summary"]["links"] == 4
