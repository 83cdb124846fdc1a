"""Reads log lines of every vendor that customers send us."""

import pytest

LINES = [
    "2025-01-01 inngest: function finished",
    "2025-01-01 import inngest",
    "2025-01-01 INNGESTED 44 rows",
]

SOURCE = """
import inngest
from inngest import Inngest

client = inngest.Inngest(app_id="x")
"""


@pytest.mark.parametrize("line", LINES)
def test_lines(line):
    assert line.startswith("2025")


def test_source():
    assert "inngest" in SOURCE
