"""The pages say what is so: links lead somewhere, names exist, commands and examples run."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.architecture import pages
from tests.architecture.distributions import distributions
from tests.architecture.pages import PAGES, ROOT
from turnout.cli.command_table import COMMANDS
from turnout.cli.extensions import extensions

README = ROOT / "README.md"
ARCHITECTURE = ROOT / "migration_docs" / "architecture.md"
GLOSSARY = ROOT / "migration_docs" / "glossary.md"

named = pytest.mark.parametrize("page", PAGES, ids=lambda each: str(each.relative_to(ROOT)))


@named
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link leads to a file of this tree; those to a removed adapter are let be."""
    targets = [page.parent / link for link in pages.links(page)]
    assert [path for path in targets if not (path.exists() or pages.removed(path))] == []


@named
def test_paths_and_tests_that_are_named_exist(page: Path) -> None:
    """A path in a page is there; `path::test` is a test in it; so is `name` in `path`."""
    missing = [
        f"{path}::{test}" if test else path
        for path, test in pages.paths(page)
        if not pages.removed(ROOT / path)
        if not (ROOT / path).exists() or (test and not pages.defines(ROOT / path, test))
    ]
    missing += [
        f"{name} in {path}"
        for name, path in pages.named(page)
        if not pages.removed(ROOT / path)
        if not (ROOT / path).exists() or not pages.defines(ROOT / path, name)
    ]
    assert missing == []


@named
def test_commands_that_are_shown_exist(page: Path) -> None:
    """A console shows commands of ours that there are."""
    unknown = []
    for block in pages.blocks(page):
        for command in block.commands if block.language == "console" else ():
            for called in re.findall(r"(?:^|\s)turnout ([a-z]+)", command):
                unknown += [] if called in {*COMMANDS, *extensions()} else [command]
            for script in re.findall(r"(?:^|\s)(scripts/[\w/.]+)", command):
                unknown += [] if (ROOT / script).is_file() else [command]
    assert unknown == []


@named
def test_folders_are_installed_with_the_folders_that_they_need(page: Path) -> None:
    """No index has them: what a folder needs stands on its line, or on a line above it.

    Readers of `migration_docs` have the runtime; readers of a README have nothing yet.
    """
    ours = {distribution.folder: distribution for distribution in distributions()}
    names = {distribution.name for distribution in ours.values()}
    present = {"turnout"} if "migration_docs" in page.parts else set()
    missing = []
    for words in pages.installs(page):
        needs: set[str] = set()
        for word in (word for word in words if word.startswith(".")):
            pattern, _, extras = word.removesuffix("]").partition("[")
            folders = sorted(ROOT.glob(pattern.removeprefix("./"))) if pattern != "." else [ROOT]
            assert folders or pages.removed(ROOT / pattern), f"{word} is no folder"
            for folder in folders:
                distribution = ours[folder]
                present.add(distribution.name)
                needs |= distribution.requirements
                for extra in filter(None, extras.split(",")):
                    needs |= distribution.requirements_of(extra)
        missing += [f"{' '.join(words)}: {name}" for name in sorted(needs & names - present)]
    assert missing == []


RUNNABLE = [page for page in PAGES if any(each.runs for each in pages.blocks(page))]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda each: each.name)
def test_what_is_marked_as_runnable_runs(page: Path, tmp_path: Path) -> None:
    """Blocks marked `run` run as printed, in the order of the page."""
    pages.run(page, tmp_path)


def test_the_readmes_example_gives_its_result(tmp_path: Path) -> None:
    """The ten lines have ten lines, and count the words that the README counts."""
    (example,) = [each for each in pages.blocks(README) if each.file == "hello.py"]
    assert len([line for line in example.text.splitlines() if line]) <= 10
    pages.write(README, tmp_path)
    told = json.loads(_in(tmp_path, SERVED))
    assert told == {"fastapi": 6, "flask": 6}


SERVED = """
import json, os, time
os.environ["TURNOUT_ARTIFACTS"] = "none"
from starlette.testclient import TestClient
from hello import words
from turnout import sync_door

def result(run_id, door):
    while True:
        run = door.status(run_id).journal.run
        if run.state.terminal:
            return json.loads(run.result)
        time.sleep(0.05)

text = "to be or not to be"
from service import api
from flask_service import door, web
with TestClient(api) as client:
    by_fastapi = client.post("/texts", params={"text": text}).json()["run_id"]
    by_flask = web.test_client().post("/texts", data={"text": text}).json["run_id"]
    print(json.dumps({"fastapi": result(by_fastapi, door), "flask": result(by_flask, door)}))
door.close()
"""


def test_the_printed_adapter_keeps_its_promises(tmp_path: Path) -> None:
    """The adapter of its page, found by entry point, keeps what is quickly asked of any backend."""
    pages.write_adapter(tmp_path)
    told = json.loads(_in(tmp_path, TRIED, *QUICK).splitlines()[-1])
    assert told["wrong"] == {}
    assert told["tried"] == len(QUICK)


QUICK = (
    "a-branch-retries-while-another-runs",
    "a-child-gives-its-result",
    "a-failed-step-can-be-caught",
    "a-key-is-used-once",
    "a-step-is-tried-until-it-succeeds",
    "a-waiting-run-is-cancelled",
    "an-event-right-after-the-wait-is-not-lost",
    "branches-may-branch",
    "each-step-runs-once",
    "models-go-in-and-come-out",
    "one-run-of-a-key-at-a-time",
    "parallel-steps-run-side-by-side",
    "the-provider-agrees-in-the-end",
    "the-provider-agrees-on-a-failure",
    "the-provider-knows-every-task",
)
"""One or more of each capability, that need little time; the whole suite is for real adapters."""

TRIED = """
import asyncio, json, sys
from turnout_testing.conformance.behaviour import try_all
from turnout_testing.conformance.behaviours import BEHAVIOURS
from turnout_testing.backends import open_backend

async def main():
    chosen = [each for each in BEHAVIOURS if each.name in sys.argv[1:]]
    async with open_backend("courier") as world:
        found = await try_all(world, chosen)
    wrong = {name: repr(error) for name, error in found.items() if error is not None}
    print(json.dumps({"tried": len(found), "wrong": wrong}))

asyncio.run(main())
"""


def test_every_invariant_names_its_check() -> None:
    """Each row of the table of invariants names a test or an import contract that there is."""
    rows = _table(ARCHITECTURE, "invariant")
    assert len(rows) >= 15
    contracts = _contracts()
    unchecked = [
        row[0]
        for row in rows
        if not re.search(r"`[\w./-]+\.py::\w+`", row[-1])
        and not any(f"contract `{each}`" in row[-1] for each in contracts)
    ]
    assert unchecked == []
    claimed = re.findall(r"contract `(\w+)`", ARCHITECTURE.read_text())
    assert set(claimed) <= contracts


def test_the_glossary_uses_names_that_exist() -> None:
    """A word of the glossary names the object that it is in code."""
    missing = [
        f"{row[0]}: {name}"
        for row in _table(GLOSSARY, "word")
        for name in re.findall(r"`(turnout\w*\.[\w.]+)`", row[-1])
        if _find(name) is None
    ]
    assert missing == []


def test_words_that_say_nothing_name_nothing() -> None:
    """No class or module of the core is a manager, a helper, a util, or merely a base."""
    idle = re.compile(r"(?i)(manager|helper|util|handler_?base|misc|common)s?$")
    found = []
    for path in (ROOT / "src" / "turnout").rglob("*.py"):
        names = [path.stem, *re.findall(r"^class (\w+)", path.read_text(), re.MULTILINE)]
        found += [f"{path.relative_to(ROOT)}: {name}" for name in names if idle.search(name)]
    assert found == []


def test_times_that_pages_tell_are_the_codes() -> None:
    """`turnout.x.NAME` (2 s) is the value that the code has; whole numbers are milliseconds."""
    wrong = []
    for page in PAGES:
        pattern = r"`(turnout[\w.]*\.\w+)`\s+\(([\d.,]+) (ms|s|min|h)\)"
        for name, number, unit in re.findall(pattern, page.read_text()):
            scale = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}[unit]
            told = float(number.replace(",", "")) * scale
            if _in_millis(name) != told:
                wrong.append(f"{page.name}: {name} is {_in_millis(name)} ms, not {told}")
    assert wrong == []


@pytest.mark.parametrize("script", ["capability_page", "settings_page"])
def test_generated_pages_are_up_to_date(script: str) -> None:
    """A generated page is what its generator makes now."""
    done = subprocess.run(
        [sys.executable, f"scripts/{script}.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _in(folder: Path, program: str, *arguments: str) -> str:
    """Run a program in a folder; its output."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _table(page: Path, first: str) -> list[list[str]]:
    """Read the rows of the tables whose first column has this name."""
    rows: list[list[str]] = []
    inside = False
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == first:
            inside = True
        elif inside and not set(cells[0]) <= {"-"}:
            rows.append(cells)
    return rows


def _contracts() -> set[str]:
    """Give the ids of every distribution's import contracts."""
    return {
        contract["id"]
        for distribution in distributions()
        for contract in distribution.settings["tool"].get("importlinter", {}).get("contracts", [])
    }


def _find(name: str) -> Any:
    """Import as far as it goes, then look at attributes; None where there is nothing."""
    parts = name.split(".")
    for at in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:at]))
        except ModuleNotFoundError:
            continue
        for each in parts[at:]:
            fields = getattr(found, "model_fields", {})
            found = fields[each].default if each in fields else getattr(found, each, None)
        return found
    return None


def _in_millis(name: str) -> float | None:
    found = _find(name)
    if found is None:
        return None
    seconds = isinstance(found, float) or name.endswith("SECONDS")
    return float(found) * (1_000 if seconds else 1)
