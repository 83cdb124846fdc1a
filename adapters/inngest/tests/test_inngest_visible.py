"""What Inngest sees of an app is frozen: a run that is under way finds its vendor steps again."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from previous_version import previous_environ

TESTS = Path(__file__).parent
ABSENT = "<absent>"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("version", ["today", "previous"])
def test_what_the_vendor_sees_is_what_it_saw(version: str) -> None:
    """Names, ids, keys, expressions and memos are those of `visible.json`, byte for byte.

    A difference is a vendor run that starts again, hangs, or is lost when a service is updated.
    `python visible.py > visible.json` writes the file anew: only for what nobody has in flight.
    """
    environ = previous_environ() if version == "previous" else dict(os.environ)
    program = [sys.executable, "visible.py"]
    shown = subprocess.run(program, cwd=TESTS, env=environ, check=True, capture_output=True)
    frozen = json.loads((TESTS / "visible.json").read_text())
    assert list(_differences("", json.loads(shown.stdout), frozen)) == []


def _differences(path: str, shown: Any, frozen: Any) -> Iterator[str]:
    """Name each place where the two differ, and what stands there."""
    match shown, frozen:
        case dict(), dict():
            for name in sorted(shown.keys() | frozen.keys()):
                yield from _differences(
                    f"{path}/{name}", shown.get(name, ABSENT), frozen.get(name, ABSENT)
                )
        case list(), list():
            for index, pair in enumerate(zip_longest(shown, frozen, fillvalue=ABSENT)):
                yield from _differences(f"{path}/{index}", *pair)
        case _ if type(shown) is not type(frozen) or shown != frozen:
            yield f"{path}: {shown!r:.300}, and not {frozen!r:.300}"
