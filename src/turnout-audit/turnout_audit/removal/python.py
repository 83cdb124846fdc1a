"""A Python project: an environment without the vendor's distributions, and imports in it."""

import json
import os
import re
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnout_audit.errors import CannotTell, WrongArguments
from turnout_audit.manifests import normal_name
from turnout_audit.removal.processes import (
    Ended,
    clean_environment,
    installing_environment,
    run,
)
from turnout_audit.removal.proof import Proof, Request
from turnout_audit.removal.vendor import Vendor

_INCLUDED = re.compile(r"(?:-r|--requirement)[ \t=]*(?P<path>\S+)")
_CONSTRAINED = re.compile(r"(?:-c|--constraint)[ \t=]*(?P<path>\S+)")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_DEPTH = 10
"""Files of requirements that include each other, so deep."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is installed, one requirement a line, and what is left out."""

    lines: tuple[str, ...]
    left_out: tuple[str, ...]


def plan(
    project: Path,
    vendor: Vendor,
    files: Sequence[Path],
    extras: Sequence[str],
    groups: Sequence[str],
) -> Plan:
    """Read what a project asks for, from its pyproject.toml or its files of requirements.

    Raises WrongArguments where there is neither, or they cannot be read.
    """
    manifest = project / "pyproject.toml"
    if files:
        lines = [line for path in files for line in _of_file(project / path)]
    elif manifest.is_file():
        lines = list(_of_pyproject(manifest, extras, groups))
    elif (project / "requirements.txt").is_file():
        lines = list(_of_file(project / "requirements.txt"))
    else:
        raise WrongArguments(
            "neither pyproject.toml nor requirements.txt; give --requirements FILE"
        )
    left_out = tuple(dict.fromkeys(line for line in lines if vendor.is_package(line)))
    return Plan(lines=tuple(line for line in lines if line not in left_out), left_out=left_out)


def install(planned: Plan, project: Path, interpreter: str, seconds: float) -> Path:
    """Make an environment beside the project, install, and return its interpreter.

    Raises CannotTell with the last words of what failed.
    """
    place, listed = project.parent / "environment", project.parent / "requirements.txt"
    listed.write_text("\n".join(planned.lines) + "\n", encoding="utf-8")
    environment = installing_environment()
    _must(
        run(
            [interpreter or sys.executable, "-m", "venv", str(place)], project, environment, seconds
        )
    )
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    command = [str(python), "-m", "pip", "install", "--no-input", "-r", str(listed)]
    _must(run(command, project, environment, seconds))
    return python


def imported(
    interpreter: Path,
    project: Path,
    modules: Sequence[str],
    vendor: Vendor,
    variables: Mapping[str, str],
    seconds: float,
) -> Proof:
    """Import modules of a project, and say who asks for the vendor.

    Raises CannotTell where the imports end the process, or do not end.
    """
    report = project.parent / "report.json"
    settings = {
        "folders": [str(folder) for folder in (project / "src", project) if folder.is_dir()],
        "modules": list(modules),
        "globs": [glob for glob in vendor.modules if not set("@/") & set(glob)],
        "report": str(report),
    }
    script = Path(__file__).with_name("importing.py")
    command = [str(interpreter), "-B", str(script), json.dumps(settings)]
    ended = run(command, project, clean_environment(project.parent, variables), seconds)
    if not report.is_file():
        raise CannotTell(f"the imports ended with code {ended.code}: {ended.last_line}")
    return _proof(json.loads(report.read_text(encoding="utf-8")), project, vendor)


def _must(ended: Ended) -> None:
    if ended.code:
        raise CannotTell(f"the project cannot be installed: {ended.last_line}")


def _of_pyproject(path: Path, extras: Sequence[str], groups: Sequence[str]) -> Iterator[str]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongArguments(f"{path.name}: {error}") from error
    project = document.get("project")
    if not isinstance(project, dict):
        raise WrongArguments(f"{path.name} has no [project] table; give --requirements FILE")
    yield from _entries(project.get("dependencies", []), "project.dependencies", str)
    for table, kind, names in (
        (project.get("optional-dependencies"), "extra", extras),
        (document.get("dependency-groups"), "group", groups),
    ):
        for name in names:
            yield from _of_group(table if isinstance(table, dict) else {}, kind, name, 0)


def _of_group(table: Mapping[str, Any], kind: str, name: str, depth: int) -> Iterator[str]:
    if name not in table or depth > _DEPTH:
        raise WrongArguments(f"no {kind} {name!r}; there are: {', '.join(table) or 'none'}")
    for entry in _entries(table[name], f"the {kind} {name!r}", str, dict):
        if isinstance(entry, str):
            yield entry
        else:
            yield from _of_group(table, kind, str(entry.get("include-group", "")), depth + 1)


def _entries(value: object, place: str, *kinds: type) -> list[Any]:
    """Check a list of a manifest; raises WrongArguments where it is none of requirements."""
    if isinstance(value, list) and all(isinstance(entry, kinds) for entry in value):
        return value
    raise WrongArguments(f"pyproject.toml: {place} should be a list of requirements")


def _of_file(path: Path, depth: int = 0) -> Iterator[str]:
    """Read the lines of a file of requirements, and of those that it includes."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise WrongArguments(f"{path.name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise WrongArguments(f"{path.name}: {error}") from error
    for line in text.replace("\\\n", " ").splitlines():
        stripped = re.sub(r"(?:^|\s)#.*$", "", line).strip()
        included, constrained = _INCLUDED.match(stripped), _CONSTRAINED.match(stripped)
        if included and depth < _DEPTH:
            yield from _of_file(path.parent / included["path"], depth + 1)
        elif constrained:
            yield f"-c {path.parent / constrained['path']}"
        elif stripped:
            yield stripped


def _proof(report: Mapping[str, Any], project: Path, vendor: Vendor) -> Proof:
    requests = {
        Request(path=_shown(path, project), line=line, wanted=module)
        for path, line, module in report["requests"]
    }
    installed = set(map(normal_name, report["installed"]))
    for name, required in report["installed"].items():
        requests |= {
            Request(path=f"the package {name}", line=0, wanted=requirement)
            for requirement in required
            if vendor.is_package(requirement) and _is_installed(requirement, installed)
        }
    problems = [
        f"{module}: {reason}{_at(path, line, project)}"
        for module, reason, (path, line) in report["failures"]
    ]
    return Proof(
        imported=tuple(report["imported"]),
        requests=tuple(sorted(requests)),
        problems=tuple(problems),
    )


def _is_installed(requirement: str, installed: Collection[str]) -> bool:
    """Say whether a package is there, since an extra that nobody asked for brings nothing."""
    name = _NAME.match(requirement)
    return name is not None and normal_name(name[0]) in installed


def _at(path: str, line: int, project: Path) -> str:
    return f" ({_shown(path, project)}:{line})" if path else ""


def _shown(path: str, project: Path) -> str:
    """Name a file as the project's, or as an installed package's."""
    name = path.removeprefix(f"{project}/")
    return re.sub(r"^.*/(?:site|dist)-packages/", "site-packages/", name)
