"""The worker's source, which is copied into a user's repository and belongs to the user there."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parent
TOOL_FOLDERS: Final = frozenset({"node_modules", ".trigger", ".test"})
"""Folders that tools make in a checkout."""
CONFIG: Final = "trigger.config.ts"
PLACEHOLDER: Final = "proj_yours"
PROJECT_REF: Final = re.compile(r"proj_[A-Za-z0-9]+")


def template() -> Path:
    """The folder of the source: beside this module when installed, `worker/` in a checkout."""
    packaged = PACKAGE / "worker"
    return packaged if packaged.is_dir() else PACKAGE.parents[1] / "worker"


def files(folder: Path) -> Iterator[Path]:
    """List the project's files, relative to its folder, without what tools made."""
    for path in sorted(folder.iterdir()):
        if path.name in TOOL_FOLDERS:
            continue
        if path.is_dir():
            yield from (Path(path.name) / name for name in files(path))
        else:
            yield Path(path.name)


def copied(to: Path, *, force: bool = False) -> tuple[list[Path], list[Path]]:
    """Copy the source into a folder; returns the files written, and those that a user changed.

    A file that a user changed is overwritten only with `force`. The project's ref in the
    configuration does not count as a change.
    """
    source = template()
    copied_files, changed = [], []
    for name in files(source):
        template_file, target = source / name, to / name
        if target.exists() and _same(target, template_file):
            continue
        if target.exists() and not force:
            changed.append(name)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template_file, target)
        copied_files.append(name)
    return copied_files, changed


def _same(target: Path, template_file: Path) -> bool:
    if target.name != CONFIG:
        return target.read_bytes() == template_file.read_bytes()
    return _unnamed(target.read_bytes()) == _unnamed(template_file.read_bytes())


def _unnamed(config: bytes) -> bytes:
    return re.sub(f'"{PROJECT_REF.pattern}"'.encode(), f'"{PLACEHOLDER}"'.encode(), config)


def name_project(folder: Path, ref: str) -> bool:
    """Write the project's ref into the configuration; False when it has one already."""
    path = folder / CONFIG
    text, quoted = path.read_bytes(), f'"{PLACEHOLDER}"'.encode()
    if quoted not in text:
        return False
    path.write_bytes(text.replace(quoted, f'"{ref}"'.encode()))
    return True
