"""The copy of a project that is installed: what git would list, or all but what is installed."""

import shutil
from pathlib import Path

from turnout_audit.listing import list_files
from turnout_audit.search import obeys_above

_INSTALLED = (".git", "node_modules", "__pycache__", ".venv", "venv")


def copy(project: Path, target: Path) -> None:
    """Copy a project's files, those not tracked included, without what an ignore file names.

    A project that is itself ignored is copied as one outside of a repository.
    """
    obeys = obeys_above(str(project))
    listings = list(list_files(str(project), "", _INSTALLED)) if obeys else []
    if not listings:
        shutil.copytree(project, target, symlinks=True, ignore=shutil.ignore_patterns(*_INSTALLED))
        return
    target.mkdir(parents=True)
    for name in sorted({path for listing in listings for path in listing.paths}):
        source, place = project / name, target / name
        if source.is_symlink() or source.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place, follow_symlinks=False)
