"""The shape of the tree: what the architecture page promises, held."""

import ast
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "src" / "turnout"
VENDORS = sorted(path.parent.name for path in ROOT.glob("adapters/*/pyproject.toml"))
LONGEST_MODULE = 500


def modules() -> list[Path]:
    """List the core's modules."""
    return sorted(CORE.rglob("*.py"))


@pytest.mark.parametrize("vendor", VENDORS)
def test_nothing_outside_its_adapter_names_a_vendor(vendor: str) -> None:
    """In code, scripts, contracts and tests; so removing a vendor is deleting its folder.

    The audit's rules are data that outlive an adapter: they prove that the vendor is gone.
    """
    # From the beginning of a word on: `before.state` names nobody.
    pattern = re.compile(r"(?<![a-z])" + r"\W?".join(vendor), re.IGNORECASE)
    assert [
        f"{path.relative_to(ROOT)}:{number}"
        for path in _texts_outside_adapters()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ] == []


def _texts_outside_adapters() -> Iterator[Path]:
    """Give what may name no vendor: everything but prose, pins and what is about the audit."""
    yield ROOT / "pyproject.toml"
    for folder in ("src", "scripts", "tests", ".ci"):
        for path in sorted((ROOT / folder).rglob("*")):
            inside = path.relative_to(ROOT)
            about_audit = any("audit" in part for part in inside.parts)
            if path.suffix in {"", ".py", ".toml", ".json"} and path.is_file() and not about_audit:
                yield path


def test_the_tree_in_the_readme_is_the_tree() -> None:
    """Every folder of code is named there, and what is named there exists."""
    readme = (ROOT / "README.md").read_text()
    tree = readme[readme.index("```\nsrc/turnout/") :].split("```")[1]
    rooms = [path.name for path in CORE.iterdir() if (path / "__init__.py").is_file()]
    assert [name for name in rooms if f" {name}/ " not in tree] == []
    folders = [path.parent.relative_to(ROOT) for path in ROOT.glob("src/*-*/pyproject.toml")]
    assert [str(path) for path in folders if f"\n{path}/ " not in tree] == []
    first_words = [
        line.split()[0] for line in tree.strip().splitlines() if not line.startswith(" ")
    ]
    assert [name for name in first_words if "<" not in name and not (ROOT / name).is_dir()] == []


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


IMPURE = {"httpx", "os", "socket", "sqlalchemy", "threading", "time"}
"""What does I/O, or reads a clock."""


def test_the_model_does_no_io() -> None:
    """`model/` holds values and pure functions: no async, no clock, no files, no sockets."""
    offending = []
    for path in (CORE / "model").glob("*.py"):
        tree = ast.parse(path.read_text())
        forbidden = {"asyncio", *IMPURE} - {"os"}  # whose random bytes new ids are made of
        if _imports(tree) & forbidden or _has_async(tree):
            offending.append(path.name)
    assert offending == []


def test_the_driver_is_pure() -> None:
    """`driver/` steps a task function: no port, no clock, no files."""
    offending = []
    for path in (CORE / "driver").glob("*.py"):
        imports = _imports(ast.parse(path.read_text()))
        if imports & IMPURE or any(name.startswith("turnout.ports") for name in imports):
            offending.append(path.name)
    assert offending == []


def _imports(tree: ast.AST) -> set[str]:
    """The modules that are imported by `import`, and those that names are imported from."""
    nodes = list(ast.walk(tree))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


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
