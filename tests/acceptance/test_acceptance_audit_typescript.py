"""Fixed TypeScript of the corpus's sample projects still type-checks."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from turnout.audit.patch import mended_text
from turnout.audit.ruleset import load
from turnout.audit.scan import Scanner

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "audit_corpus"
PROJECTS = (("triggerdev-v4", "saas"), ("inngest-v4", "shop"))
TYPESCRIPT = "typescript@5.9.3"

pytestmark = pytest.mark.acceptance


@cache
def compiler() -> str | None:
    """Find tsc, or install it below the ignored folder `build`; None where neither works."""
    given = os.environ.get("TURNOUT_TSC")
    if given:
        return given
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    folder = ROOT / "build" / "typescript"
    found = folder / "node_modules" / "typescript" / "bin" / "tsc"
    if not found.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), TYPESCRIPT]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=100)
        except (subprocess.SubprocessError, OSError):
            return None
    return str(found) if found.exists() else None


def checked(folder: Path) -> list[str]:
    """Give the type errors of a project."""
    tsc = compiler()
    if tsc is None:
        pytest.skip("no TypeScript compiler: Node.js and npm, or TURNOUT_TSC, are needed")
    command = [shutil.which("node") or "node", tsc, "--pretty", "false", "-p", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    return [line for line in done.stdout.splitlines() if "error TS" in line]


@pytest.mark.parametrize(("ruleset", "project"), PROJECTS)
def test_fixed_typescript_type_checks(ruleset: str, project: str, tmp_path: Path) -> None:
    """Against the new version's types the old code fails, and the fixed code does not."""
    shutil.copytree(CORPUS / ruleset / project, tmp_path / project)
    scanner = Scanner(load(ruleset))
    assert checked(tmp_path / project)
    for path in sorted((tmp_path / project).rglob("*")):
        if path.is_file():
            name = path.relative_to(tmp_path).as_posix()
            text = path.read_text(encoding="utf-8")
            fixed = mended_text(scanner, name, text, unsafe=True).text
            path.write_text(fixed, encoding="utf-8")
    assert checked(tmp_path / project) == []
