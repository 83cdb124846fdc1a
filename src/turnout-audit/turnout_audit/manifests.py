"""Dependencies in package manifests and lock files."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from turnout_audit.configs import Entry, entries
from turnout_audit.kinds import is_requirements
from turnout_audit.names import expression_of, fits
from turnout_audit.ruleset import ManifestMatch
from turnout_audit.source import Hit
from turnout_audit.view import Finder, View

_NPM = fits(
    (
        *("dependencies", "devDependencies", "peerDependencies", "optionalDependencies"),
        *("overrides", "overrides.*", "resolutions", "pnpm.overrides", "pnpm.overrides.*"),
        *("imports", "catalog", "catalogs.*", "workspaces.catalog", "workspaces.catalogs.*"),
        *("peerDependenciesMeta", "dependenciesMeta", "patchedDependencies"),
        *("pnpm.patchedDependencies", "packageExtensions", "pnpm.packageExtensions"),
        *("packageExtensions.*.*ependencies", "pnpm.packageExtensions.*.*ependencies"),
        *("allowedDeprecatedVersions", "pnpm.allowedDeprecatedVersions", "allowBuilds"),
    )
)
_NPM_LISTS = fits(
    (
        *("bundledDependencies[]", "bundleDependencies[]", "trustedDependencies[]"),
        *("*onlyBuiltDependencies[]", "*neverBuiltDependencies[]", "*ignoredBuiltDependencies[]"),
        *("*minimumReleaseAgeExclude[]", "*publicHoistPattern[]", "workspaces.nohoist[]"),
        *("*ignoredOptionalDependencies[]", "*peerDependencyRules.*[]"),
    )
)
_PYTHON_TABLES = fits(
    (
        *("tool.poetry.dependencies", "tool.poetry.dev-dependencies"),
        *("tool.poetry.group.*.dependencies", "tool.pixi*.pypi-dependencies", "tool.uv.sources"),
        *("packages", "dev-packages"),
    )
)
_PYTHON_LISTS = fits(
    (
        *("project.dependencies", "project.optional-dependencies.*", "dependency-groups.*"),
        *("build-system.requires", "tool.uv.dev-dependencies", "tool.uv.*-dependencies"),
        *("tool.uv.no-build-package", "tool.uv.no-binary-package"),
        *("tool.pdm.dev-dependencies.*", "tool.hatch.envs.*dependencies"),
    )
)
_REQUIREMENT = re.compile(
    r"""(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*(?P<version>(?:[<>=!~(@]|$)[^;#"']*)?"""
)
ALIAS = re.compile(r"npm:(?P<name>@?[^@]+)")
"""The version of a dependency on npm that is another name of a package."""
_NUMBER = re.compile(r"\d+(?:\.\d+)*")
_LINE = re.compile(
    r"^[ \t]*(?:(?:-e|--editable)(?:[ \t]*=[ \t]*|[ \t]*))?(?P<rest>[A-Za-z0-9].*)$", re.MULTILINE
)
_ADDRESS = re.compile(
    r"""(?:[a-z]+\+)?(?:https?|ssh|git|file)://[^\s"'#?]*/(?P<last>[^\s"'/#?]+)[^\s"'#]*"""
    r"""(?:\#(?:[^\s"']*?&)?egg=(?P<egg>[\w.-]+))?"""
)
_ENDS = re.compile(r"(?:-\d[^/]*\.(?:whl|tar\.gz|zip)|\.(?:whl|tar\.gz|zip)|\.git)?(?:@.*)?$")


@dataclass(frozen=True, slots=True)
class Dependency:
    """A dependency as a manifest lists it."""

    name: str
    version: str
    start: int
    end: int


def find_manifests(match: ManifestMatch) -> Finder:
    """Find dependencies by name."""
    is_package = _name_test(match.manifest)
    below = _version(match.below) if match.below else None

    def find(view: View) -> Iterator[Hit]:
        """Find the rule's packages in a manifest."""
        if view.segment.fenced:
            return
        if view.language == "lock":
            dependencies = list(_locked(view, match.manifest)) if match.locks else []
        else:
            dependencies = [d for d in _dependencies(view) if is_package(d.name)]
        if match.mixed:
            dependencies = list(_mixed(dependencies))
        for dependency in dependencies:
            version = _version(dependency.version)
            if below is None or (version is not None and version < below):
                captured = {"name": dependency.name, "version": dependency.version}
                yield Hit(start=dependency.start, end=dependency.end, captured=captured)

    return find


def requirement_test(globs: Sequence[str]) -> Callable[[str], bool]:
    """Make a test that says whether a requirement, as a manifest writes it, is of a package."""
    is_package = _name_test(globs)
    return lambda text: (
        is_package(text) or any(is_package(dependency.name) for dependency in _requirements(text))
    )


def _name_test(globs: Sequence[str]) -> Callable[[str], bool]:
    name_fits = fits((*globs, *map(normal_name, globs)), ignore_case=True)
    return lambda name: name_fits(name) or name_fits(normal_name(name))


def normal_name(name: str) -> str:
    """Write a distribution's name in one way; a package of npm and a glob stay as they are."""
    return re.sub(r"[-_.]+", "-", name).lower() if "@" not in name and "*" not in name else name


def _version(text: str) -> tuple[int, ...] | None:
    """Read the first number; None for `latest`, `workspace:*`, a path or an address."""
    if text.startswith(("file:", "link:", "git", "http", "github:", "./", "../", "catalog:")):
        return None
    number = _NUMBER.search(re.sub(r"^npm:@?[^@]+@", "", text))
    return tuple(int(part[:9]) for part in number[0].split(".")) if number else None


def _mixed(dependencies: list[Dependency]) -> Iterable[Dependency]:
    versioned = [(d, v) for d in dependencies if (v := _version(d.version)) is not None]
    highest = max((version for _, version in versioned), default=None)
    return [dependency for dependency, version in versioned if version != highest]


def _dependencies(view: View) -> Iterator[Dependency]:
    name = PurePosixPath(view.path).name.lower()
    if name in ("package.json", "deno.json", "deno.jsonc", "pnpm-workspace.yaml", "jsr.json"):
        return _npm(entries(view))
    if name in ("pyproject.toml", "pipfile", "pixi.toml", "uv.toml"):
        return _python(view)
    if is_requirements(view.path):
        return _requirements(view.text)
    if name in ("setup.py", "setup.cfg", "environment.yml", "environment.yaml"):
        return _strings(view.text)
    return iter(())


def _npm(config_entries: Iterable[Entry]) -> Iterator[Dependency]:
    for entry in config_entries:
        if _NPM_LISTS(entry.path):
            yield Dependency(_bare(entry.value), entry.value, entry.start, entry.end)
        for table, name in _splits(entry.path):
            if _NPM(table):
                bare = _bare(name)
                yield Dependency(bare, entry.value, entry.start, entry.end)
                alias = ALIAS.match(entry.value)
                if alias and alias["name"] != bare:
                    at = entry.value_start + alias.start("name")
                    yield Dependency(alias["name"], entry.value, at, at + len(alias["name"]))


def _bare(name: str) -> str:
    """Name the package of a key such as `a>b@1.0`, `**/b` or `a/b`; a scope belongs to the name."""
    last = re.sub(r"(?<=.)@[^/@]*$", "", re.split(r">(?!=)", name)[-1])
    parts = last.split("/")
    scoped = len(parts) > 1 and parts[-2].startswith("@")
    return "/".join(parts[-2:]) if scoped else parts[-1]


def _splits(path: str) -> Iterator[tuple[str, str]]:
    """A package's name may hold dots: try every cut."""
    at = path.find(".")
    while at >= 0:
        yield path[:at], path[at + 1 :]
        at = path.find(".", at + 1)


def _python(view: View) -> Iterator[Dependency]:
    for entry in entries(view):
        table, _, name = entry.path.rpartition(".")
        if _PYTHON_TABLES(table):
            yield Dependency(name, entry.value.strip("\"'"), entry.start, entry.end)
        elif _PYTHON_LISTS(entry.path):
            for quoted in re.finditer(r"""(["'])(?P<text>[^"'\n]+)\1""", entry.value):
                # the value is cut out of the text at its start, so places hold
                yield from _required(quoted["text"], entry.value_start + quoted.start("text"))


def _requirements(text: str) -> Iterator[Dependency]:
    for line in _LINE.finditer(text):
        yield from _required(line["rest"], line.start("rest"))


def _strings(text: str) -> Iterator[Dependency]:
    """Read requirements in lists: quoted, or one a line."""
    pattern = r"""(?:["']|^[ \t]+-?[ \t]*)(?P<text>[A-Za-z0-9][^"'\n]*)"""
    for line in re.finditer(pattern, text, re.MULTILINE):
        yield from _required(line["text"], line.start("text"))


def _required(text: str, at: int) -> Iterator[Dependency]:
    if address := _ADDRESS.match(text):
        yield _addressed(address, at)
        return
    requirement = _REQUIREMENT.match(text)
    if requirement is None:
        return
    remainder = text[requirement.end() :].strip()
    if remainder and not remainder.startswith((";", "#", ",", "\\", "--")):
        return
    start = at + requirement.start("name")
    yield Dependency(
        requirement["name"],
        (requirement["version"] or "").strip(),
        start,
        at + requirement.end("name"),
    )


def _addressed(address: "re.Match[str]", at: int) -> Dependency:
    """Name what an address brings: as its `egg` says, else by its repository or its archive."""
    if address["egg"]:
        return Dependency(address["egg"], "", at + address.start("egg"), at + address.end("egg"))
    name = _ENDS.sub("", address["last"], count=1)
    start = at + address.start("last")
    return Dependency(name, "", start, start + len(name))


def _locked(view: View, globs: Iterable[str]) -> Iterator[Dependency]:
    """Find entries of lock files, one a line."""
    names = "|".join(expression_of(glob, wildcard=r"[^\"'\s@,:/]*") for glob in globs)
    pattern = re.compile(
        _shape(PurePosixPath(view.path).name.lower(), names), re.MULTILINE | re.IGNORECASE
    )
    for entry in pattern.finditer(view.text):
        if _in_programs(view.text, entry.start()):
            continue
        version = entry.groupdict().get("version") or ""
        yield Dependency(entry["name"], version, entry.start("name"), entry.end("name"))


def _in_programs(text: str, start: int) -> bool:
    """Say whether a lock file's line names a program of a package, below `"bin": {`."""
    opened = text.rfind("{", max(0, start - 2000), start)
    return (
        opened >= 0 and re.search(r'"bin"\s*:\s*$', text[max(0, opened - 20) : opened]) is not None
    )


def _shape(name: str, names: str) -> str:
    if (
        name in ("poetry.lock", "uv.lock", "pdm.lock", "pixi.lock", "cargo.lock")
        or name[:7] == "pylock."
    ):
        version = r"""(?:\nversion = "(?P<version>[^"]*)")?"""
        return rf"""^(?:- )?name\s*[=:]\s*"?(?P<name>{names})"?\s*${version}"""
    if name == "yarn.lock":
        return rf"""^"?(?P<name>{names})@(?:npm:)?(?P<version>[^"\s,:]*)"""
    if name == "pnpm-lock.yaml":
        return rf"""^\s+['"]?/?(?P<name>{names})(?:[@/](?P<version>\d[^'":()\s]*)[^\n]*)?['"]?:"""
    if name == "mix.lock":
        return rf"""^\s*"(?P<name>{names})":\s*\{{"""
    if name in ("bun.lock", "deno.lock"):
        return rf"""^\s*"(?:npm:)?(?P<name>{names})(?:@(?P<version>[^"]*))?"\s*:"""
    version = r"""(?:(?:\s*\{\s*"version"\s*:)?\s*"(?P<version>[^"\n]*)")?"""
    return rf"""^\s*"(?:[^"\n]*node_modules/)?(?P<name>{names})"\s*:{version}"""
