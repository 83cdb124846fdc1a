"""What Inngest sees of an app is frozen: a run that is under way finds its vendor steps again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from previous_version import previous_environ

TESTS = Path(__file__).parent


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
    assert json.loads(shown.stdout) == json.loads((TESTS / "visible.json").read_text())
