"""Runs the TypeScript worker by the vendor's own CLI, unmodified, against any server.

`python -m turnout_triggerdev_double.nodeworker --folder DIR --definition FILE`. For `turnout dev`,
the demo and the suite; a team runs `npx trigger dev` itself. What npm installs is taken from the
folder that TURNOUT_TRIGGER_CLI names, or installed into the worker's folder.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from turnout_triggerdev.definition import FILE
from turnout_triggerdev.project import copied

INSTALLED: Final = "TURNOUT_TRIGGER_CLI"
OLDEST_NODE: Final = 20
WRONG_USE: Final = 2
QUIET: Final = ("--skip-update-check", "--skip-platform-notifications", "--skip-telemetry")

OFFLINE: Final = """\
// The CLI fetches a sample document at its start, and tries five times; answer it here.
const real = globalThis.fetch;
globalThis.fetch = (target, options) =>
  String(target?.url ?? target).includes("jsonhero.io")
    ? Promise.resolve(new Response("{}", { headers: { "content-type": "application/json" } }))
    : real(target, options);
"""


class NoNode(Exception):
    """The worker needs Node.js 20 or later and npm, and they are not there."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Put the worker into the folder and become its CLI; wrong use ends with 2."""
    parser = argparse.ArgumentParser(prog="turnout_triggerdev_double.nodeworker")
    parser.add_argument("--folder", type=Path, required=True, help="where the worker is put")
    parser.add_argument("--definition", type=Path, required=True, help="the definition file")
    parser.add_argument("--keep", action="store_true", help="leave what was changed in the folder")
    options = parser.parse_args(argv)
    try:
        prepare(options.folder, options.definition, os.environ, keep=options.keep)
    except (NoNode, subprocess.CalledProcessError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(WRONG_USE) from None
    environ = surroundings(options.folder.resolve(), os.environ)
    os.chdir(options.folder)
    command = str(Path("node_modules/.bin/trigger").resolve())
    url = environ["TRIGGER_API_URL"]
    os.execve(command, [command, "dev", *QUIET, "-a", url], environ)  # noqa: S606 - the CLI itself


def prepare(
    folder: Path, definition: Path, environ: Mapping[str, str], *, keep: bool = False
) -> None:
    """Copy the worker, its definition and what npm installs into the folder."""
    check_node()
    copied(folder, force=not keep)
    shutil.copyfile(definition, folder / FILE)
    (folder / "offline.mjs").write_text(OFFLINE, encoding="utf-8")
    modules, installed = folder / "node_modules", environ.get(INSTALLED)
    if installed and not modules.exists():
        modules.symlink_to((Path(installed) / "node_modules").resolve())
    if not modules.exists():
        install(folder)


def install(folder: Path) -> None:
    """Install what the lock file names, without running the packages' install scripts."""
    command = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)  # noqa: S603 - no input


def check_node() -> None:
    """Refuse by name where there is no Node.js, or one that is too old."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise NoNode(NoNode.__doc__)
    version = subprocess.run((node, "--version"), capture_output=True, check=True, text=True)  # noqa: S603
    major = version.stdout.strip().lstrip("v").partition(".")[0]
    if not major.isdigit() or int(major) < OLDEST_NODE:
        raise NoNode(f"the worker needs Node.js {OLDEST_NODE} or later; this is {version.stdout}")


def surroundings(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The CLI's environment, with a home of its own: it never reads or changes a user's login."""
    home = str(folder / "home")
    return {
        **environ,
        "HOME": home,
        "XDG_CONFIG_HOME": home,
        "NODE_OPTIONS": importing(folder / "offline.mjs"),
    }


def importing(module: Path) -> str:
    """The option with which Node.js imports a module first.

    The module's URL has no underscores, because the CLI (4.8.3) turns them into dashes.
    """
    return f"--import {module.as_uri().replace('_', '%5F')}"


if __name__ == "__main__":
    main()
