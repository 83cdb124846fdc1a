"""An installed folder declares what it imports, so each works alone."""

import ast
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.architecture.distributions import ROOT, Distribution, distributions, imported_names


def _owners() -> dict[str, set[str]]:
    """Give the distributions that hold each import package, our own ones included."""
    owners = {
        name: {canonicalize_name(owner) for owner in installed}
        for name, installed in metadata.packages_distributions().items()
    }
    for distribution in distributions():
        for package in distribution.packages:
            owners[package.name] = {distribution.name}
    return owners


@pytest.mark.parametrize(
    "distribution", distributions(), ids=lambda distribution: distribution.name
)
def test_a_distribution_imports_only_what_it_declares(distribution: Distribution) -> None:
    """A package that is imported and not declared is missing where the folder is installed alone.

    So the runtime knows no vendor: it declares no vendor's SDK, and no adapter. What an extra adds
    of this repository plugs in by entry point, and is not imported either.
    """
    owners = _owners()
    plugged_in = {distribution.name for distribution in distributions()}
    optional = distribution.optional_requirements - plugged_in
    declared = distribution.requirements | optional | {distribution.name}
    undeclared = {
        f"{path.relative_to(distribution.folder)}: {name}"
        for path in distribution.modules()
        for name in imported_names(ast.parse(path.read_text()))
        if name not in sys.stdlib_module_names and not owners.get(name, set()) & declared
    }
    assert undeclared == set()


@pytest.mark.parametrize(
    "distribution", distributions(), ids=lambda distribution: distribution.name
)
def test_a_distribution_carries_its_licence(distribution: Distribution) -> None:
    """The licence asks that whoever gets one folder gets its text, too."""
    licence = (distribution.folder / "LICENSE").read_bytes()
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert distribution.settings["project"]["license"] == "Apache-2.0"


def test_the_runtime_requires_no_other_folder_of_this_repository() -> None:
    """Adapters, offline servers, kit, audit and demo may need the runtime, never the reverse."""
    runtime, *others = distributions()
    assert runtime.name == "turnout"
    assert runtime.requirements & {distribution.name for distribution in others} == set()


def test_the_runtimes_source_distribution_holds_the_runtime_alone(tmp_path: Path) -> None:
    """Not a file of another folder is in it, its README included."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = [name.partition("/")[2] for name in files.getnames()]
    assert {name for name in names if "/" in name and not name.startswith("src/turnout/")} == set()
    assert {"README.md", "LICENSE", "CHANGELOG.md", "src/turnout/__init__.py"} <= set(names)
