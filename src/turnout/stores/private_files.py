"""Files and folders that strangers on the machine cannot read, whatever the umask is."""

from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o660
"""For the owner and, where the umask allows it, for the group."""
FOLDER_MODE: Final = 0o770


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; what is there keeps its mode."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(FOLDER_MODE)
    except FileExistsError:
        if not folder.is_dir():
            raise
