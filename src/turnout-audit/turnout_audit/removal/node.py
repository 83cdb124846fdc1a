"""A project of scripts: installed without the vendor's packages, type-checked and imported."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from turnout_audit.errors import CannotTell, WrongArguments
from turnout_audit.manifests import ALIAS
from turnout_audit.removal.processes import clean_environment, installing_environment, run
from turnout_audit.removal.proof import Proof, Request
from turnout_audit.removal.vendor import Vendor

_TABLES = (
    *("dependencies", "devDependencies", "peerDependencies", "optionalDependencies"),
    *("overrides", "resolutions", "peerDependenciesMeta", "dependenciesMeta"),
    *("bundledDependencies", "bundleDependencies", "trustedDependencies"),
)
_MANAGERS: Mapping[str, tuple[str, ...]] = {
    "pnpm-lock.yaml": ("pnpm", "install", "--ignore-scripts", "--no-frozen-lockfile"),
    "bun.lock": ("bun", "install", "--ignore-scripts", "--no-save"),
    "bun.lockb": ("bun", "install", "--ignore-scripts", "--no-save"),
}
_NPM = ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress")
_TYPE_ERROR = re.compile(
    r"^(?P<path>[^\s(][^(\n]*)\((?P<line>\d+),\d+\): error (?P<text>TS\d+: .*)$", re.MULTILINE
)
_GENERAL_ERROR = re.compile(r"^error (?P<text>TS\d+: .*)$", re.MULTILINE)
_QUOTED = re.compile(r"'([^'\n]+)'")
_NOT_FOUND = re.compile(
    r"Cannot find (?:package|module) '(?P<wanted>[^'\n]+)'"
    r"(?: imported from (?P<path>\S+)|\s+Require stack:\s+- (?P<required>\S+))?"
)


def without_vendor(project: Path, vendor: Vendor) -> tuple[str, ...]:
    """Take the vendor's packages out of every package.json of a copy, and return them."""
    manifests = sorted(project.rglob("package.json"), key=lambda path: (len(path.parts), path))
    names = [name for path in manifests for name in _taken_out(path, vendor)]
    return tuple(dict.fromkeys(names))


def install(project: Path, seconds: float) -> None:
    """Install a project by the package manager of its lock file.

    Raises CannotTell with the last words of the package manager where it fails.
    """
    command = next((c for lock, c in _MANAGERS.items() if (project / lock).is_file()), _NPM)
    if shutil.which(command[0]) is None:
        raise CannotTell(f"{command[0]} is not on the PATH")
    ended = run(command, project, installing_environment(), seconds)
    if ended.code:
        raise CannotTell(f"the project cannot be installed: {ended.last_line}")


def imported(
    project: Path,
    scripts: Sequence[str],
    vendor: Vendor,
    variables: Mapping[str, str],
    seconds: float,
) -> Proof:
    """Type-check a project that has a tsconfig.json, import scripts, and say who asks."""
    environment = clean_environment(project.parent, variables)
    proof = Proof(requests=tuple(sorted(_required_by_packages(project, vendor))))
    if (project / "tsconfig.json").is_file():
        proof += _type_checked(project, vendor, environment, seconds)
    for script in scripts:
        proof += _run_imports(project, script, vendor, environment, seconds)
    return proof


def _type_checked(
    project: Path, vendor: Vendor, environment: Mapping[str, str], seconds: float
) -> Proof:
    compiler = project / "node_modules" / ".bin" / "tsc"
    if not compiler.is_file():
        return Proof(problems=("tsconfig.json: the project does not install typescript",))
    command = [str(compiler), "--noEmit", "--pretty", "false", "-p", "tsconfig.json"]
    ended = run(command, project, environment, seconds)
    requests, problems = [], []
    for error in _TYPE_ERROR.finditer(ended.output):
        module = _QUOTED.search(error["text"])
        if module and vendor.is_module(module[1]):
            request = Request(path=error["path"], line=int(error["line"]), wanted=module[1])
            requests.append(request)
        else:
            problems.append(f"{error['path']}:{error['line']}: {error['text']}")
    problems += [error["text"] for error in _GENERAL_ERROR.finditer(ended.output)]
    if ended.code and not (requests or problems):
        problems.append(f"tsc: {ended.last_line}")
    return Proof(imported=("tsconfig.json",), requests=tuple(requests), problems=tuple(problems))


def _run_imports(
    project: Path, script: str, vendor: Vendor, environment: Mapping[str, str], seconds: float
) -> Proof:
    place = project / script
    if not place.is_file():
        raise WrongArguments(f"no file to import: {script}")
    program = "import(process.argv[1]).then(() => process.exit(0))"
    command = ["node", "--input-type=module", "-e", program, place.as_uri()]
    ended = run(command, project, environment, seconds)
    if not ended.code:
        return Proof(imported=(script,))
    missing = _NOT_FOUND.search(ended.output)
    if missing is None or not vendor.is_module(missing["wanted"]):
        reason = next(
            (line for line in ended.output.splitlines() if re.match(r"\w*Error\b", line)),
            ended.last_line,
        )
        return Proof(problems=(f"{script}: {reason}",))
    importer = (missing["path"] or missing["required"] or script).removeprefix("file://")
    path = importer.removeprefix(f"{project}/")
    return Proof(requests=(Request(path=path, line=0, wanted=missing["wanted"]),))


def _taken_out(path: Path, vendor: Vendor) -> Iterator[str]:
    """Take the vendor's packages out of a manifest, and return them."""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise WrongArguments(f"{path.name}: {error}") from error
    if not isinstance(manifest, dict):
        return
    own = manifest.get("pnpm")
    for table in (manifest, own if isinstance(own, dict) else {}):
        for key in _TABLES:
            yield from _cut(table, key, vendor)
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _cut(table: dict[str, Any], key: str, vendor: Vendor) -> Iterator[str]:
    entries = table.get(key)
    if isinstance(entries, list):
        table[key] = [name for name in entries if not vendor.is_package(str(name))]
    elif isinstance(entries, dict):
        for name in list(entries):
            if _is_vendors(name, entries[name], vendor):
                del entries[name]
                yield name


def _is_vendors(name: str, version: object, vendor: Vendor) -> bool:
    """Judge a dependency by its name, or by the package that it is another name of."""
    alias = ALIAS.match(str(version))
    return vendor.is_package(name) or (alias is not None and vendor.is_package(alias["name"]))


def _required_by_packages(project: Path, vendor: Vendor) -> Iterator[Request]:
    """Find installed packages that bring the vendor's along."""
    for path in sorted(project.glob("**/node_modules/**/package.json")):
        name = path.parent.relative_to(project).as_posix().rpartition("node_modules/")[2]
        if name.count("/") > (1 if name.startswith("@") else 0):
            continue
        try:
            manifest = json.loads(path.read_text(encoding="utf-8", errors="replace"))
        except (OSError, ValueError):
            continue
        required = manifest.get("dependencies") if isinstance(manifest, dict) else None
        for package, version in required.items() if isinstance(required, dict) else ():
            if _is_vendors(package, version, vendor) and not vendor.is_package(name):
                yield Request(path=f"the package {name}", line=0, wanted=package)
