"""Imports a project's modules, and writes down who asks for a vendor's; runs with its own Python.

It is started as a script of its own, with one argument: a JSON object with `folders` to import
from, `modules`, `globs` of the vendor's modules, and the file for the `report`.
"""

import fnmatch
import importlib
import importlib.machinery
import json
import pkgutil
import sys
import traceback
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

Place = tuple[str, int]


class Watch:
    """Notes every import of a vendor's module; it finds none itself."""

    def __init__(self, folders: list[str], globs: list[str]) -> None:
        self.folders = tuple(folders)
        self.globs = globs
        self.requests: list[tuple[str, int, str]] = []

    def wants(self, name: str) -> bool:
        """Say whether a module is the vendor's, and no module of the project's own."""
        if not any(fnmatch.fnmatchcase(name, glob) for glob in self.globs):
            return False
        spec = importlib.machinery.PathFinder.find_spec(name.partition(".")[0])
        origins = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
        return not any(origin.startswith(self.folders) for origin in origins)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Note who imports a module."""
        del path, target
        if "." not in name and self.wants(name):
            self.requests.append((*self.importer(), name))

    def importer(self) -> Place:
        """Return the place in a file that the import under way comes from."""
        frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 -- nothing else says who imports
        while frame is not None and frame.f_code.co_filename.startswith("<frozen "):
            frame = frame.f_back
        return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("", 0)


class Imports:
    """What was imported, and what failed; as a context, one import."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.imported: list[str] = []
        self.failures: list[tuple[str, str, Place]] = []
        self._module = ""
        self._requests = 0

    def of(self, module: str) -> "Imports":
        """Begin the import of a module."""
        self._module, self._requests = module, len(self.watch.requests)
        return self

    def __enter__(self) -> None:
        """Import within."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        """Note how it ended: an application may raise anything, and the next import goes on."""
        requested = len(self.watch.requests) > self._requests
        if error is None:
            self.imported.append(self._module)
        elif not (isinstance(error, ImportError) and requested):
            failure = explained(error), raised_at(error, self.watch.folders)
            self.failures.append((self._module, *failure))
        return True


def main(settings: dict[str, Any]) -> None:
    """Import all modules, and write the report."""
    watch = Watch(settings["folders"], settings["globs"])
    sys.path[:0] = settings["folders"]
    sys.meta_path.insert(0, watch)
    imports = Imports(watch)
    for name in settings["modules"]:
        import_all(name, imports)
    report = {
        "imported": imports.imported,
        "failures": imports.failures,
        "requests": watch.requests,
        "installed": {
            distribution.metadata["Name"]: distribution.requires or []
            for distribution in metadata.distributions()
        },
    }
    Path(settings["report"]).write_text(json.dumps(report), encoding="utf-8")


def import_all(name: str, imports: Imports) -> None:
    """Import a module; `app.*` is a package with all modules below it."""
    package = name.removesuffix(".*")
    with imports.of(package):
        importlib.import_module(package)
    if name != package:
        folders = getattr(sys.modules.get(package), "__path__", [])
        for below in pkgutil.iter_modules(folders, f"{package}."):
            import_all(f"{below.name}.*", imports)


def explained(error: BaseException) -> str:
    """Say in one line what was raised."""
    return traceback.format_exception_only(type(error), error)[-1].strip()


def raised_at(error: BaseException, folders: tuple[str, ...]) -> Place:
    """Return the last place in the project's own files on the way to an error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(folders)]
    return (own[-1].filename, own[-1].lineno or 0) if own else ("", 0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
