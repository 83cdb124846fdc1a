"""The folders of this repository that are installed, read from their own settings."""

import ast
import functools
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """An installed folder."""

    folder: Path
    """Where its `pyproject.toml` stands."""
    settings: dict[str, Any]
    """What that file holds."""

    @property
    def name(self) -> str:
        """The name that pip knows it by."""
        return canonicalize_name(self.settings["project"]["name"])

    @property
    def packages(self) -> list[Path]:
        """The folders of its import packages."""
        wheel = self.settings["tool"]["hatch"]["build"]["targets"]["wheel"]
        return [self.folder / package for package in wheel["packages"]]

    @property
    def requirements(self) -> set[str]:
        """The distributions that it is always installed with."""
        return _names(self.settings["project"].get("dependencies", []))

    @property
    def optional_requirements(self) -> set[str]:
        """The distributions that its extras add."""
        extras = self.settings["project"].get("optional-dependencies", {})
        return _names(line for lines in extras.values() for line in lines)

    def requirements_of(self, extra: str) -> set[str]:
        """The distributions that an extra adds."""
        return _names(self.settings["project"]["optional-dependencies"][extra])

    def modules(self) -> Iterator[Path]:
        """Give every Python file of its packages."""
        for package in self.packages:
            yield from sorted(package.rglob("*.py"))


def _names(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


@functools.cache
def distributions() -> tuple[Distribution, ...]:
    """Give every folder that `scripts/environment` installs."""
    listing = subprocess.run(
        [ROOT / "scripts" / "distributions"], capture_output=True, text=True, check=True
    )
    folders = [ROOT / line for line in listing.stdout.split()]
    return tuple(
        Distribution(folder=folder, settings=tomllib.loads((folder / "pyproject.toml").read_text()))
        for folder in folders
    )


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Give the top-level names that a module imports when it runs, late imports included."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case _:
                yield from imported_names(node)
