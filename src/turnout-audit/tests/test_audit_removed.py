"""A vendor is proven to be gone: installed without it, imported, and who asks is named."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from turnout_audit.cli.app import run
from turnout_audit.errors import CannotTell, WrongArguments
from turnout_audit.load import load, parse
from turnout_audit.removal import Removal, copying, node, processes, prove, python
from turnout_audit.removal.proof import Proof, Request
from turnout_audit.removal.vendor import of_ruleset

RULES = """
ruleset = "acme"
version = "1"
title = "Acme"
markers = ["acme"]
[[rule]]
id = "import"
why = "w"
level = "error"
scope = "code"
match = [{ import = ["acme_queue", "acme_queue.*", "@acme/queue", "@acme/queue/*"] }]
[[rule]]
id = "package"
why = "w"
level = "error"
scope = "config"
match = [{ manifest = ["acme-queue", "@acme/*"] }]
"""
VENDOR = of_ruleset(parse(RULES, source="acme.toml"))
ENVIRONMENT = processes.clean_environment(Path("/nonexistent"))
MANIFESTS = {
    "pyproject.toml": """
[project]
name = "a"
dependencies = ["httpx>=0.1", "Acme_Queue[x]>=1; python_version > '3'"]
[project.optional-dependencies]
jobs = ["acme.queue", "redis"]
[dependency-groups]
dev = ["pytest", {include-group = "more"}]
more = ["acme-queue @ https://example.org/acme-queue.git"]
""",
    "requirements.txt": "-r more/base.txt\n# acme-queue\n-e git+https://a.org/x#egg=acme-queue\n",
    "more/base.txt": "-c limits.txt\nacme-queue==1 \\\n  --hash=sha256:0\nacme-queues\n",
}
REMOVED = "removed: everything was imported without the vendor"
needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js and npm")


def written(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files below a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def imports(project: Path, *modules: str) -> Proof:
    """Import modules of a project by our own Python, where the vendor is not installed either."""
    return python.imported(Path(sys.executable), project, modules, VENDOR, {}, 60)


def test_what_a_manifest_lists_of_the_vendor_is_left_out(tmp_path: Path) -> None:
    """By its name in any spelling, with extras, versions, addresses; whatever else stays."""
    written(tmp_path, MANIFESTS)
    plan = python.plan(tmp_path, VENDOR, (), ["jobs"], ["dev"])
    assert plan.lines == ("httpx>=0.1", "redis", "pytest")
    assert len(plan.left_out) == 3
    plan = python.plan(tmp_path, VENDOR, [Path("requirements.txt")], (), ())
    assert plan.lines == (f"-c {tmp_path}/more/limits.txt", "acme-queues")
    assert len(plan.left_out) == 2


@pytest.mark.parametrize(
    ("files", "extras", "reason"),
    [
        ({}, [], "neither pyproject.toml nor requirements.txt"),
        ({"pyproject.toml": "[tool.poetry.dependencies]\n"}, [], "no [project] table"),
        ({"pyproject.toml": "[project\n"}, [], "pyproject.toml:"),
        ({"pyproject.toml": "[project]\nname = 'a'\n"}, ["x"], "no extra 'x'; there are: none"),
        (
            {"pyproject.toml": "[project]\ndependencies = 'httpx'\n"},
            [],
            "pyproject.toml: project.dependencies should be a list of requirements",
        ),
        (
            {"pyproject.toml": "[project]\noptional-dependencies = { x = [1] }\n"},
            ["x"],
            "pyproject.toml: the extra 'x' should be a list of requirements",
        ),
        (
            {"pyproject.toml": "[project]\noptional-dependencies = 1\n"},
            ["x"],
            "no extra 'x'; there are: none",
        ),
        ({"requirements.txt": "-r gone.txt\n"}, [], "gone.txt: No such file or directory"),
    ],
)
def test_a_manifest_that_does_not_say_what_to_install_is_named(
    tmp_path: Path, files: Mapping[str, str], extras: list[str], reason: str
) -> None:
    """Before anything is installed."""
    with pytest.raises(WrongArguments) as raised:
        python.plan(written(tmp_path, files), VENDOR, (), extras, ())
    assert reason in str(raised.value)


def test_an_application_that_asks_for_nothing_is_imported(tmp_path: Path) -> None:
    """From its own folder, or from `src`; a module of its own may have the vendor's name."""
    project = written(
        tmp_path / "project",
        {
            "src/app/__init__.py": "",
            "src/app/web.py": "from app.jobs import acme_queue\nimport json\n",
            "src/app/jobs/__init__.py": "",
            "src/app/jobs/acme_queue.py": "import acme_queue\n",
            "acme_queue.py": "OURS = 1\n",
        },
    )
    proof = imports(project, "app.*")
    assert proof.imported == ("app", "app.jobs", "app.jobs.acme_queue", "app.web")
    assert not proof.requests
    assert not proof.problems


def test_whoever_asks_for_the_vendor_is_named(tmp_path: Path) -> None:
    """Also where it does without: in a `try`, in `find_spec`, by name."""
    project = written(
        tmp_path / "project",
        {
            "app/__init__.py": "",
            "app/a.py": "import os\nfrom acme_queue.web import serve\n",
            "app/b.py": "try:\n    import acme_queue\nexcept ImportError:\n    acme_queue = None\n",
            "app/c.py": "import importlib.util\n\nTHERE = importlib.util.find_spec('acme_queue')\n",
        },
    )
    proof = imports(project, "app.*")
    assert proof.requests == (
        Request(path="app/a.py", line=2, wanted="acme_queue"),
        Request(path="app/b.py", line=2, wanted="acme_queue"),
        Request(path="app/c.py", line=3, wanted="acme_queue"),
    )
    assert proof.imported == ("app", "app.b", "app.c")
    assert not proof.problems


def test_what_fails_for_another_reason_is_no_proof(tmp_path: Path) -> None:
    """It is named with its place; the modules beside it are imported all the same."""
    project = written(
        tmp_path / "project",
        {
            "app/__init__.py": "",
            "app/a.py": "import os\nKEY = os.environ['SECRET_OF_OURS']\n",
            "app/b.py": "raise SystemExit(3)\n",
            "app/c.py": "import not_there_at_all\n",
            "app/d.py": "print('x' * 100_000)\n",
        },
    )
    proof = imports(project, "app.*")
    assert proof.problems == (
        "app.a: KeyError: 'SECRET_OF_OURS' (app/a.py:2)",
        "app.b: SystemExit: 3 (app/b.py:1)",
        "app.c: ModuleNotFoundError: No module named 'not_there_at_all' (app/c.py:1)",
    )
    assert proof.imported == ("app", "app.d")


def test_the_environment_of_the_imports_is_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of ours is in it but what was passed on."""
    monkeypatch.setenv("SECRET_OF_OURS", "1")
    text = "import os\nassert 'SECRET_OF_OURS' not in os.environ\nassert os.environ['A'] == 'b=c'\n"
    project = written(tmp_path / "project", {"app.py": text})
    proof = python.imported(Path(sys.executable), project, ["app"], VENDOR, {"A": "b=c"}, 60)
    assert proof == Proof(imported=("app",))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import time\ntime.sleep(600)\n", "took longer than 1 s"),
        ("import os\nos._exit(7)\n", "the imports ended with code 7"),
    ],
)
def test_imports_that_do_not_come_back_are_named(tmp_path: Path, text: str, reason: str) -> None:
    """And what they started ends with them."""
    project = written(tmp_path / "project", {"app.py": text})
    with pytest.raises(CannotTell, match=reason):
        python.imported(Path(sys.executable), project, ["app"], VENDOR, {}, 1)


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    """Rather than a traceback."""
    with pytest.raises(CannotTell, match="python9 cannot be started"):
        python.install(python.Plan(lines=(), left_out=()), tmp_path, "/nonexistent/python9", 5)


def test_a_rule_set_for_a_new_version_names_nothing_to_leave_out() -> None:
    """Nothing is gone after that move."""
    with pytest.raises(WrongArguments, match="no packages to leave out"):
        of_ruleset(load("triggerdev-v4"))


def test_what_is_ignored_is_not_copied(tmp_path: Path) -> None:
    """Nor what is installed, where git cannot be asked."""
    files = {"a.py": "", "node_modules/a/index.js": "", ".venv/a.py": "", "b/c.py": ""}
    copying.copy(written(tmp_path / "plain", files), tmp_path / "copy")
    copied = {p.relative_to(tmp_path / "copy").as_posix() for p in (tmp_path / "copy").rglob("*")}
    assert copied == {"a.py", "b", "b/c.py"}


def test_a_project_that_is_ignored_is_copied(tmp_path: Path) -> None:
    """It was named."""
    written(tmp_path, {".gitignore": "build\n", "build/app/app.py": "", "build/app/.venv/a.py": ""})
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    copying.copy(tmp_path / "build/app", tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy").rglob("*")] == ["app.py"]


def wheel(folder: Path, name: str, text: str, *required: str) -> None:
    """Make an installable distribution with one module."""
    about = f"{name}-1.0.dist-info"
    requires = "".join(f"Requires-Dist: {requirement}\n" for requirement in required)
    tag = "Wheel-Version: 1.0\nGenerator: a\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = {
        f"{name}.py": text,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}",
        f"{about}/WHEEL": tag,
        f"{about}/RECORD": "",
    }
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, data in content.items():
            archive.writestr(path, data)


def ran(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run the command: its exit code, and what it printed."""
    with pytest.raises(SystemExit) as raised:
        run(["removed", *arguments])
    printed = capsys.readouterr()
    return int(raised.value.code or 0), printed.out + printed.err


@pytest.mark.timeout(600)
def test_one_command_proves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the project's own manifest; a package that brings the vendor along is named."""
    wheels = tmp_path / "wheels"
    wheel(wheels, "acme_queue", "")
    wheel(wheels, "plain", "")
    wheel(wheels, "bridge", "import acme_queue\n", "acme-queue>=1", 'unused; extra == "x"')
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    rules = str(written(tmp_path, {"acme.toml": RULES}) / "acme.toml")
    project = written(
        tmp_path / "shop",
        {"requirements.txt": "plain\nacme-queue\n", "shop.py": "import plain\n"},
    )
    command = [rules, str(project), "--import", "shop"]
    assert ran(command, capsys) == (
        0,
        f"left out: acme-queue\nimported: shop\n{REMOVED}\n",
    )
    written(project, {"requirements.txt": "bridge\n", "shop.py": "import bridge\n"})
    code, printed = ran([*command, "--json"], capsys)
    assert code == 1
    assert [(r["path"], r["wanted"]) for r in json.loads(printed)["requests"]] == [
        ("site-packages/bridge.py", "acme_queue"),
        ("the package bridge", "acme-queue>=1"),
    ]


def test_wrong_use_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2."""
    rules = str(written(tmp_path, {"acme.toml": RULES}) / "acme.toml")
    for arguments, reason in (
        ([rules, str(tmp_path)], "say what to import"),
        ([rules, str(tmp_path / "gone"), "--import", "a"], "no folder"),
        ([rules, str(tmp_path), "--import", "a", "--env", "X"], "--env needs NAME=VALUE"),
        (["triggerdev-v4", str(tmp_path), "--import", "a"], "no packages to leave out"),
    ):
        code, printed = ran(arguments, capsys)
        assert (code, printed.count("\n")) == (2, 1)
        assert reason in printed


def test_what_cannot_be_told_has_an_exit_code_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is neither a removal nor a fault of the command line."""
    files = {"acme.toml": RULES, "shop/requirements.txt": "", "shop/app.py": ""}
    folder = written(tmp_path, files)
    command = [str(folder / "acme.toml"), str(folder / "shop"), "--import", "app"]
    code, printed = ran([*command, "--python", "/nonexistent/python9"], capsys)
    assert (code, printed) == (
        3,
        "turnout-audit: python9 cannot be started: No such file or directory\n",
    )


def test_a_manifest_of_scripts_loses_the_vendors_packages(tmp_path: Path) -> None:
    """In every table, under another name, in every folder of a workspace."""
    project = written(
        tmp_path,
        {
            "package.json": json.dumps(
                {
                    "dependencies": {"@acme/queue": "1", "jobs": "npm:@acme/queue@1", "b": "1"},
                    "overrides": {"@acme/queue": "2"},
                    "bundledDependencies": ["@acme/queue", "b"],
                    "pnpm": {"overrides": {"@acme/queue": "2"}},
                }
            ),
            "packages/a/package.json": json.dumps({"devDependencies": {"@acme/test": "1"}}),
        },
    )
    assert node.without_vendor(project, VENDOR) == ("@acme/queue", "jobs", "@acme/test")
    manifest = json.loads((project / "package.json").read_text())
    assert manifest == {
        "dependencies": {"b": "1"},
        "overrides": {},
        "bundledDependencies": ["b"],
        "pnpm": {"overrides": {}},
    }


COMPILER = """#!/usr/bin/env node
console.log("src/a.ts(3,22): error TS2307: Cannot find module '@acme/queue' or its types.");
console.log("src/b.ts(1,1): error TS2304: Cannot find name 'x'.");
process.exit(2);
"""


@needs_npm
@pytest.mark.timeout(600)
def test_a_project_of_scripts_is_type_checked_and_imported(tmp_path: Path) -> None:
    """By its own compiler; the first import that fails is named with its file."""
    project = written(
        tmp_path / "project",
        {
            "package.json": json.dumps(
                {"dependencies": {"@acme/queue": "1.0.0", "typescript": "file:./compiler"}}
            ),
            "compiler/package.json": json.dumps(
                {"name": "typescript", "version": "1.0.0", "bin": {"tsc": "tsc.js"}}
            ),
            "compiler/tsc.js": COMPILER,
            "tsconfig.json": "{}",
            "src/main.mjs": "import './jobs.mjs';\n",
            "src/jobs.mjs": "import { send } from '@acme/queue';\nexport const s = send;\n",
            "src/old.cjs": "require('@acme/queue/next');\n",
            "src/fine.mjs": "export const a = 1;\n",
            "src/broken.mjs": "throw new Error('no key');\n",
        },
    )
    (project / "compiler/tsc.js").chmod(0o755)
    scripts = ["src/main.mjs", "src/old.cjs", "src/fine.mjs", "src/broken.mjs"]
    rules = parse(RULES, source="acme.toml")
    proof = prove(rules, Removal(project=project, entries=scripts, seconds=300))
    assert proof.left_out == ("@acme/queue",)
    assert proof.imported == ("tsconfig.json", "src/fine.mjs")
    assert proof.requests == (
        Request(path="src/a.ts", line=3, wanted="@acme/queue"),
        Request(path="src/jobs.mjs", line=0, wanted="@acme/queue"),
        Request(path="src/old.cjs", line=0, wanted="@acme/queue/next"),
    )
    assert proof.problems == (
        "src/b.ts:1: TS2304: Cannot find name 'x'.",
        "src/broken.mjs: Error: no key",
    )
    assert not (project / "node_modules").exists()
