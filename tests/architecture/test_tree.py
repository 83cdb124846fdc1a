"""The shape of the tree: what the architecture page promises, held."""

import ast
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "src" / "turnout"
VENDORS = sorted(each.name for each in (ROOT / "adapters").iterdir() if each.is_dir())
LONGEST_MODULE = 500


def modules() -> list[Path]:
    """List the core's modules."""
    return sorted(CORE.rglob("*.py"))


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_core_names_no_vendor(vendor: str) -> None:
    """The audit's rules, a distribution of its own, know one: data that outlives an adapter."""
    pattern = re.compile(vendor.replace("triggerdev", r"trigger\W?dev"), re.IGNORECASE)
    named = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in modules()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert named == []


def test_every_adapter_is_found_by_entry_point() -> None:
    """Discovery is by entry point; the folder's name is the provider's."""
    found = {each.name for each in entry_points(group="turnout.orchestrators")}
    assert found == {*VENDORS, "local", "memory"}


def test_no_module_is_longer_than_one_purpose() -> None:
    """A module of more than 500 lines is two."""
    long = [
        f"{path.relative_to(ROOT)}: {count}"
        for path in (*modules(), *(ROOT / "adapters").rglob("src/**/*.py"))
        if (count := len(path.read_text().splitlines())) > LONGEST_MODULE
    ]
    assert long == []


def test_the_model_does_no_io() -> None:
    """`model/` holds values and pure functions: no async, no clock, no files, no sockets."""
    offending = []
    for path in (CORE / "model").glob("*.py"):
        tree = ast.parse(path.read_text())
        names = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        forbidden = {"asyncio", "httpx", "socket", "sqlalchemy", "threading", "time"}
        if names & forbidden or _has_async(tree):
            offending.append(path.name)
    assert offending == []


def _has_async(tree: ast.AST) -> bool:
    """Whether there is an async function; those that a plain function makes do not count."""
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.AsyncFunctionDef):
            return True
        if not isinstance(node, ast.FunctionDef):
            left.extend(ast.iter_child_nodes(node))
    return False
