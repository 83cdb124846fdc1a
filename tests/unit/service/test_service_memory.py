"""What a serving process does about its memory."""

import subprocess
import sys

PROGRAM = """
import gc
from turnout.service.memory import YOUNG, collect_rarely
assert gc.get_freeze_count() == 0
collect_rarely()
assert gc.get_freeze_count() > 1_000
assert gc.isenabled() and gc.get_threshold()[0] == YOUNG
"""


def test_the_collector_leaves_what_is_there_and_goes_on() -> None:
    """What is there at the start is looked at no more; rubbish is still found, less often."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=120)
