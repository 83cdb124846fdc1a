"""Run every command of ours that a page shows, in a repository; name those that fail.

    python readme_commands.py PAGE REPOSITORY

A command is a line of a fence, or a code span, that begins with the program's name; `pipx run`
before it is left out. It may find something (exit code 1); wrong use, or what could not be told,
fails.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

PROGRAM = "turnout-audit"
SHOWN = re.compile(
    rf"^(?:- run: )?(?:pipx run )?(?P<line>{PROGRAM} [^#\n]+)|`(?P<span>{PROGRAM}\s[^`]+)`",
    re.MULTILINE,
)
FOUND = 1


def commands(page: str) -> list[str]:
    """Return the commands of a page in its order, each once."""
    shown = (match["line"] or match["span"] for match in SHOWN.finditer(page))
    return list(dict.fromkeys(" ".join(text.split()) for text in shown))


def main(page: str, repository: str) -> int:
    """Run them, and return 1 where one fails or there is none."""
    listed = commands(Path(page).read_text(encoding="utf-8"))
    failed = 0
    for command in listed:
        ended = subprocess.run(
            shlex.split(command), cwd=repository, capture_output=True, text=True, check=False
        )
        good = ended.returncode in (0, FOUND)
        failed += not good
        sys.stderr.write(f"{'ok' if good else 'FAILED'} ({ended.returncode}): {command}\n")
        if not good:
            sys.stderr.write(ended.stdout[-2000:] + ended.stderr[-2000:])
    return int(failed > 0 or not listed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
