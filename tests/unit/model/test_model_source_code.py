"""A task's code version: the files that its module imports of its own package."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from turnout.model.source_code import code_digest, source_files

FILES = {
    "acmeapp/__init__.py": "",
    "acmeapp/tasks.py": "from . import texts\nfrom acmeapp.deep.sums import add\nimport json\n"
    "def body():\n    from .late import late\n    return late\n",
    "acmeapp/texts.py": "import acmeapp.tasks\n",
    "acmeapp/late.py": "late = 1\n",
    "acmeapp/deep/__init__.py": "",
    "acmeapp/deep/sums.py": "from ..shared import *\ndef add(): return 1\n",
    "acmeapp/shared.py": "shared = 1\n",
    "acmeapp/other.py": "other = 1\n",
    "acmelone.py": "import acmeside\nimport acmeapp.other\ndef body(): return acmeside\n",
    "acmeside.py": "side = 1\n",
}
OF_THE_PACKAGE = {
    "acmeapp",
    "acmeapp.tasks",
    "acmeapp.texts",
    "acmeapp.late",
    "acmeapp.deep",
    "acmeapp.deep.sums",
    "acmeapp.shared",
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules that can be imported."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("acme")]:
        if Path(str(sys.modules[name].__file__)).is_relative_to(tmp_path):
            del sys.modules[name]


def body_of(module: str) -> Any:
    """The function of a module."""
    return importlib.import_module(module).body


def test_imports_of_the_package_are_followed(tree: Path) -> None:
    """Relative, absolute, late and in circles; neither the standard library nor what is unused."""
    assert set(source_files(body_of("acmeapp.tasks"))) == OF_THE_PACKAGE


def test_a_lone_module_has_what_is_beside_it(tree: Path) -> None:
    """Modules and packages, as a script has them."""
    expected = {"acmelone", "acmeside", "acmeapp", "acmeapp.other"}
    assert set(source_files(body_of("acmelone"))) == expected


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_changed_file_changes_the_version(tree: Path, name: str) -> None:
    """If the task's module reaches it, and only then."""
    body = body_of("acmeapp.tasks")
    before = code_digest(body)
    (tree / name).write_text(FILES[name] + "# changed\n")
    reached = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") in OF_THE_PACKAGE
    assert (code_digest(body) != before) is reached


def test_a_function_without_a_file_has_a_version_too() -> None:
    """Of its name: it was typed in, or its source is not shipped."""
    scope: dict[str, Any] = {"__name__": "nowhere"}
    exec("def body(): pass", scope)
    assert len(code_digest(scope["body"])) == 16
