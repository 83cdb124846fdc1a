"""Makes an environment for a copy of this tree that shares the installed packages of another one.

    python scripts/linked_environment.py .venv COPY

Nothing is downloaded: packages are linked, commands are copied with their interpreter's path, and
the folders of the copy are installed as they are there, editable.
"""

import os
import shutil
import sys
import venv
from pathlib import Path

EDITABLE = "_editable_impl_"
"""How the files begin that name the folders of editable packages."""


def main(source: Path, copy: Path) -> None:
    """Make `COPY/.venv`."""
    target = copy / ".venv"
    venv.create(target, with_pip=False, symlinks=True)
    (installed,) = source.glob("lib/python*/site-packages")
    (packages,) = target.glob("lib/python*/site-packages")
    for path in installed.iterdir():
        if not path.name.startswith(("turnout", EDITABLE)):
            (packages / path.name).symlink_to(path)
    for path in installed.glob(f"{EDITABLE}turnout*.pth"):
        folder = path.read_text().strip().replace(str(source.parent), str(copy))
        if Path(folder).is_dir():
            (packages / path.name).write_text(f"{folder}\n")
            (metadata,) = installed.glob(f"{path.stem.removeprefix(EDITABLE)}-*.dist-info")
            (packages / metadata.name).symlink_to(metadata)
    _copy_commands(source, target)


def _copy_commands(source: Path, target: Path) -> None:
    """Copy the commands, so that each runs the target's interpreter."""
    for path in (source / "bin").iterdir():
        copied = target / "bin" / path.name
        if copied.exists() or path.is_dir() or path.name.startswith(("activate", "python")):
            continue
        shutil.copy2(path, copied)
        head, line_end, rest = path.read_bytes().partition(b"\n")
        if head.startswith(b"#!") and os.fsencode(source) in head:
            new_head = head.replace(os.fsencode(source), os.fsencode(target))
            copied.write_bytes(new_head + line_end + rest)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute())
