"""What mutants.toml files say: modules with their tests, faults and equivalents."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from scripts.mutant_trials import ROOT, Check


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings files, taken together."""

    entries: tuple[Mapping[str, Any], ...]

    def modules(self) -> list[str]:
        """List the modules of which mutants are made."""
        matches = {
            path.relative_to(ROOT).as_posix()
            for entry in self.all("module")
            for pattern in entry["paths"]
            for path in ROOT.glob(pattern)
        }
        left_out = [pattern for entry in self.entries for pattern in entry.get("left_out", [])]
        return sorted(
            path for path in matches if not any(fnmatch(path, pattern) for pattern in left_out)
        )

    def tests(self, path: str) -> tuple[str, ...]:
        """Give the arguments of pytest for a module: of the first entry that has it."""
        for entry in self.all("module"):
            if any(fnmatch(path, pattern.replace("**/", "*")) for pattern in entry["paths"]):
                return tuple(entry["tests"])
        raise LookupError(path)

    def equivalent(self, path: str, before: str, after: str) -> str | None:
        """Give the reason why this change of a line changes nothing that is promised."""
        for entry in self.all("equivalent"):
            if (entry["path"], entry["before"], entry["after"]) == (path, before, after):
                return str(entry["reason"])
        return None

    def all(self, kind: str) -> Iterator[Mapping[str, Any]]:
        """Give all entries of a kind, in the order of the files."""
        for settings in self.entries:
            yield from settings.get(kind, [])


def read_settings() -> Settings:
    """Read the settings of the runtime and of each folder that has some; refuse missing paths."""
    files = [ROOT / "scripts" / "mutants.toml", *sorted(ROOT.glob("*/*/mutants.toml"))]
    settings = Settings(entries=tuple(tomllib.loads(file.read_text()) for file in files))
    refuse_missing_paths(settings)
    return settings


def refuse_missing_paths(settings: Settings) -> None:
    """FileNotFoundError where a module or a test is gone: a pattern without files tries nothing."""
    entries = [entry for kind in ("module", "fault", "equivalent") for entry in settings.all(kind)]
    patterns = {
        pattern
        for entry in entries
        for pattern in (*entry.get("paths", ()), *entry.get("tests", ()), entry.get("path"))
        if pattern is not None
    }
    missing = sorted(pattern for pattern in patterns if not any(ROOT.glob(pattern)))
    if missing:
        raise FileNotFoundError(f"mutants.toml names what does not exist: {', '.join(missing)}")


def faults(settings: Settings, only: str) -> Iterator[tuple[str, Mapping[str, str], Check]]:
    """Give the promise that each fault breaks, its module, and the tests that should notice."""
    for entry in settings.all("fault"):
        if only in entry["promise"] + entry["path"]:
            yield entry["promise"], _change(entry), Check(arguments=tuple(entry["tests"]))


def _change(entry: Mapping[str, Any]) -> Mapping[str, str]:
    """Apply a fault to its module; the text that it replaces is there once."""
    path = entry["path"]
    source = (ROOT / path).read_text()
    if source.count(entry["before"]) != 1:
        raise LookupError(
            f"{path} has this {source.count(entry['before'])} times: {entry['before']}"
        )
    return {path: source.replace(entry["before"], entry["after"])}
