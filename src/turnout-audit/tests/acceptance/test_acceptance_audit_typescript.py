"""Fixed TypeScript of the corpus's sample projects still type-checks.

Against the types that come with the samples, written by hand, and against the vendors' own, where
npm can install them.
"""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from turnout_audit.load import load
from turnout_audit.patch import mended_text
from turnout_audit.scan import Scanner

ROOT = Path(__file__).resolve().parents[4]
CORPUS = ROOT / "src" / "turnout-audit" / "tests" / "corpus"
PROJECTS = (("triggerdev-v4", "saas", "sdk.d.ts"), ("inngest-v4", "shop", "inngest.d.ts"))
TYPESCRIPT = "typescript@5.9.3"
VENDORS = (
    *("@trigger.dev/sdk@4.8.3", "@trigger.dev/react-hooks@4.8.3", "@trigger.dev/build@4.8.3"),
    *("inngest@4", "@types/react@18", "@types/node@22"),
)
PATIENCE = 900.0
"""Seconds for npm on a busy machine; the vendors' packages bring hundreds of others."""

pytestmark = pytest.mark.acceptance


def installed(name: str, *packages: str) -> Path | None:
    """Install packages below the ignored folder `build`, once; None where that does not work."""
    npm = shutil.which("npm")
    folder = ROOT / "build" / name
    whole = folder / "whole"
    if whole.exists() and whole.read_text() == " ".join(packages):
        return folder / "node_modules"
    if npm is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        subprocess.run(
            [*command, "--prefix", str(folder), *packages],
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )
    except (subprocess.SubprocessError, OSError):
        return None
    whole.write_text(" ".join(packages))
    return folder / "node_modules"


@cache
def compiler() -> str | None:
    """Find tsc, or install it; None where neither works."""
    if given := os.environ.get("TURNOUT_TSC"):
        return given
    found = installed("typescript", TYPESCRIPT) if shutil.which("node") else None
    return str(found / "typescript" / "bin" / "tsc") if found else None


def checked(folder: Path) -> list[str]:
    """Give the type errors of a project."""
    tsc = compiler()
    if tsc is None:
        pytest.skip("no TypeScript compiler: Node.js and npm, or TURNOUT_TSC, are needed")
    command = [shutil.which("node") or "node", tsc, "--pretty", "false", "-p", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return [line for line in done.stdout.splitlines() if "error TS" in line]


def fix(folder: Path, ruleset: str) -> None:
    """Mend all files of a project, also by the fixes that need a look."""
    scanner = Scanner(load(ruleset))
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "node_modules" not in path.parts:
            name = path.relative_to(folder.parent).as_posix()
            text = path.read_text(encoding="utf-8")
            path.write_text(mended_text(scanner, name, text, unsafe=True).text, encoding="utf-8")


@pytest.mark.timeout(4 * PATIENCE)
@pytest.mark.parametrize(("ruleset", "project", "types"), PROJECTS)
def test_fixed_typescript_type_checks(
    ruleset: str, project: str, types: str, tmp_path: Path
) -> None:
    """Against the new version's types the old code fails, and the fixed code does not."""
    shutil.copytree(CORPUS / ruleset / project, tmp_path / project)
    assert checked(tmp_path / project)
    fix(tmp_path / project, ruleset)
    assert checked(tmp_path / project) == []


@pytest.mark.timeout(4 * PATIENCE)
@pytest.mark.parametrize(("ruleset", "project", "types"), PROJECTS)
def test_fixed_typescript_type_checks_against_the_vendors_own_types(
    ruleset: str, project: str, types: str, tmp_path: Path
) -> None:
    """What we wrote down of a vendor's types by hand flatters no fix."""
    modules = installed("vendors", *VENDORS)
    if modules is None:
        pytest.skip("npm cannot install the vendors' packages here")
    folder = tmp_path / project
    shutil.copytree(CORPUS / ruleset / project, folder)
    (folder / "types" / types).unlink()
    (folder / "node_modules").symlink_to(modules)
    settings = json.loads((folder / "tsconfig.json").read_text(encoding="utf-8"))
    settings["compilerOptions"] |= {"skipLibCheck": True, "types": ["node"]}
    (folder / "tsconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    assert checked(folder)
    fix(folder, ruleset)
    assert checked(folder) == []
