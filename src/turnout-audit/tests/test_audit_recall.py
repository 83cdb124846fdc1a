"""Every line that a plain search finds is answered for, on all trees that we have."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from turnout_audit.cli.app import run
from turnout_audit.load import load, names

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("tree", sorted(path.name for path in CORPUS.iterdir() if path.is_dir()))
@pytest.mark.parametrize("ruleset", [name for name in names() if load(name).mentions])
def test_what_grep_finds_is_answered_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tree: str,
    ruleset: str,
) -> None:
    """In the command's own report: by a finding, an exempt mention, or an unclassified one."""
    shutil.copytree(CORPUS / tree, tmp_path / "tree")
    monkeypatch.chdir(tmp_path / "tree")
    subprocess.run(["git", "init", "-q"], check=True)
    rules = load(ruleset)
    words = [word for mention in rules.mentions for word in ("-e", mention)]
    grep = ["git", "grep", "--untracked", "-nIizF", *words]
    listed = subprocess.run(grep, capture_output=True, check=False).stdout.decode().splitlines()
    expected = {(path, int(line)) for path, line, _ in (row.split("\0", 2) for row in listed)}
    with pytest.raises(SystemExit):
        run([ruleset, ".", "--json"])
    report = json.loads(capsys.readouterr().out)
    places = {(mention["path"], mention["line"]) for mention in report["exempted"]}
    for finding in (*report["findings"], *report["unclassified"]):
        spanned = range(finding["line"], finding.get("end_line", finding["line"]) + 1)
        places.update((finding["path"], line) for line in spanned)
    assert expected <= places
