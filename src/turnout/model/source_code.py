"""Which files a function's code is in: its module, and what that imports of its own package.

Imports are read from the source, never made, so those within functions count too. The package is
the one that the module is in, at its top; a module outside of any package has the modules and
packages beside it for its own. Installed packages are not a part of it.
"""

import ast
import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True, slots=True)
class SourceTree:
    """The folder that absolute imports of one package begin in."""

    root: Path
    package: str
    """The name of the top package; empty for a module outside of any."""

    def file(self, module: str) -> Path | None:
        """Return the file of a module that belongs to the package; None for any other."""
        if self.package and module.partition(".")[0] != self.package:
            return None
        place = self.root.joinpath(*module.split("."))
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file() and _INSTALLED.isdisjoint(path.parts):
                return path
        return None


def code_digest(function: Callable[..., Any]) -> str:
    """Return a short digest of a function's code; of its name where there is no source."""
    digest = hashlib.sha256()
    files = source_files(function)
    for module, source in sorted(files.items()):
        digest.update(f"{module}\0{len(source)}\0".encode() + source)
    if not files:
        digest.update(_function_source(function).encode())
    return digest.hexdigest()[:16]


def source_files(function: Callable[..., Any]) -> dict[str, bytes]:
    """Read the files that a function's code is in, by module; none where its module has no file."""
    module = inspect.getmodule(function)
    if module is None or not getattr(module, "__file__", None):
        return {}
    file, spec = Path(str(module.__file__)), module.__spec__
    name = module.__name__ if spec is None else spec.name  # a module that is run is __main__
    depth = name.count(".") + (file.name == "__init__.py")
    tree = SourceTree(
        root=file.parents[depth],
        package=name.partition(".")[0] if depth else "",
    )
    files: dict[str, bytes] = {}
    waiting = [name if spec is not None else file.stem]
    while waiting:
        module_name = waiting.pop()
        path = tree.file(module_name)
        if path is None or module_name in files:
            continue
        files[module_name] = path.read_bytes()
        waiting += imported(module_name, path.name == "__init__.py", files[module_name])
    return files


def imported(module: str, is_package: bool, source: bytes) -> Iterator[str]:  # noqa: FBT001 - of two
    """Name what a module's source may import, with the packages that it is in."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from _with_parents(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = _start(package, node)
            yield from _with_parents([start, *(f"{start}.{a.name}".strip(".") for a in node.names)])
    yield from _with_parents([package])


def _start(package: str, node: ast.ImportFrom) -> str:
    """Return the module that a `from … import` begins at."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _with_parents(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        while name:
            yield name
            name = name.rpartition(".")[0]  # noqa: PLW2901 - up to the top


def _function_source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return function.__qualname__
