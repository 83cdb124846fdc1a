"""Pages as tests read them: links, names of files, and the blocks that can be run.

A fenced block says behind its language what it is: `file=NAME` is written to the page's folder,
`run` is run in it, in the order of the page. A console block that is not run is only looked at.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from turnout_dev.supervisor import die_with_parent

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "migration_docs").rglob("*.md"),
        *ROOT.glob("adapters/*/README.md"),
        *ROOT.glob("src/*-*/README.md"),
        *ROOT.glob("adapters/*/docs/*.md"),
        *ROOT.glob("adapters/*/double/README.md"),
        *ROOT.glob("adapters/*/server/README.md"),
    ]
)

_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
_PATH = re.compile(r"`((?:src|tests|adapters|scripts|migration_docs|\.ci)/[\w./-]+)(?:::(\w+))?`")
_INSTALL = re.compile(r"\bpip install ([^`#\n]*)")
_NAMED = re.compile(r"`([A-Za-z_][\w.]*)` in\s+`([\w./-]+\.py)`")
_ENDED = 15.0
BASICS = ("HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "USER")
"""The variables that a page's commands get from this environment, besides the path."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block: its language, what is said behind it, its text."""

    language: str
    said: str
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file that it is."""
        return self.said.removeprefix("file=") if self.said.startswith("file=") else None

    @property
    def runs(self) -> bool:
        """Whether a test runs it."""
        return self.said == "run"

    @property
    def commands(self) -> list[str]:
        """The lines of a console that are typed."""
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]


def blocks(page: Path) -> list[Block]:
    """Read a page's fenced blocks, in order."""
    return [
        Block(language=language, said=said.strip(), text=text)
        for language, said, text in _BLOCK.findall(page.read_text())
    ]


def links(page: Path) -> list[str]:
    """Read where a page's relative links lead."""
    return _LINK.findall(page.read_text())


def paths(page: Path) -> list[tuple[str, str]]:
    """Read the paths of this tree that a page names, and the test in it if any."""
    return _PATH.findall(page.read_text())


def named(page: Path) -> list[tuple[str, str]]:
    """Read what a page says to be in a file: `name` in `path`."""
    return _NAMED.findall(page.read_text())


def installs(page: Path) -> list[list[str]]:
    """Read what each `pip install` of a page names, in order."""
    text = page.read_text()
    return [[word.strip("'") for word in line.split()] for line in _INSTALL.findall(text)]


def removed(path: Path) -> bool:
    """Whether a path is of an adapter whose folder is not here: a vendor that was removed."""
    inside = Path(os.path.normpath(path)).relative_to(ROOT).parts
    return len(inside) > 1 and inside[0] == "adapters" and not (ROOT.joinpath(*inside[:2])).is_dir()


def defines(path: Path, name: str) -> bool:
    """Whether a file defines a name: a function, a class, or a value."""
    last = re.escape(name.rsplit(".", 1)[-1])
    pattern = rf"^\s*(?:async def|def|class) {last}\b|^\s*{last}\s*[:=]"
    return re.search(pattern, path.read_text(), re.MULTILINE) is not None


def write(page: Path, folder: Path) -> None:
    """Write a page's files, as printed."""
    for each in blocks(page):
        if each.file is not None:
            (folder / each.file).write_text(each.text)


def run(page: Path, folder: Path) -> None:
    """Write a page's files and run its blocks, in order; what fails is raised with its output."""
    write(page, folder)
    behind: list[subprocess.Popen[bytes]] = []
    try:
        for command in _commands(page):
            if command[-1].endswith("&"):
                behind.append(_begin([*command[:-1], command[-1].rstrip("& ")], folder))
            else:
                done = subprocess.run(
                    command, cwd=folder, env=_environ(), capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
        if behind:
            _settled(folder)
    finally:
        for each in behind:
            _end(each)


def _commands(page: Path) -> Iterator[list[str]]:
    for each in blocks(page):
        if each.runs and each.language == "python":
            yield [sys.executable, "-c", each.text]
        elif each.runs:
            yield from (["bash", "-c", command] for command in each.commands)


def _environ() -> dict[str, str]:
    """Give the commands of this environment, and none of its settings or colours."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    basics = {name: os.environ[name] for name in BASICS if name in os.environ}
    return {**basics, "PATH": path, "NO_COLOR": "1"}


def _begin(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    log = (folder / "behind.log").open("ab")
    with log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=_environ(),
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - it only calls prctl
        )


def _settled(folder: Path) -> None:
    """Let what was started behind the page end what it was given."""
    until = time.monotonic() + _ENDED
    while time.monotonic() < until:
        states = [path.read_text() for path in folder.glob(".turnout/artifacts/runs/*/status.json")]
        if states and all('"state":"completed"' in each.split('"task"')[0] for each in states):
            return
        time.sleep(0.1)
    raise AssertionError(f"the runs did not complete:\n{(folder / 'behind.log').read_text()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def write_adapter(folder: Path) -> None:
    """Write the adapter of its page into a folder in which it is found by its entry point."""
    write(ROOT / "migration_docs" / "adapters.md", folder)
    installed = folder / "turnout_courier-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: turnout-courier\nVersion: 1.0\n"
    )
    points = (
        "[turnout.orchestrators]\ncourier = turnout_courier:plugin\n"
        "[turnout.devservers]\ncourier = double:double\n"
    )
    (installed / "entry_points.txt").write_text(points)
    (folder / "double.py").write_text(_DOUBLE)


_DOUBLE = """
class Double:
    name, label, default_port = "courier", "in process", 9
    def processes(self, setup): return ()
    def environ(self, setup): return {}
    def real(self, environ): return None

def double():
    return Double()
"""
"""Courier has no server, so that there is nothing to start."""
