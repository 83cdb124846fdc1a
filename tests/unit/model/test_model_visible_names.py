"""What is visible at a vendor does not change with a version of Turnout."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from visible_names import visible_names

FROZEN = json.loads((Path(__file__).parent / "visible_names.json").read_text())
"""The values of the version before this file was written."""


@pytest.mark.parametrize("kind", FROZEN)
def test_a_visible_value_is_as_in_the_version_before(kind: str) -> None:
    """A run that is in flight at a vendor finishes on this version: names and keys stay."""
    assert json.loads(json.dumps(visible_names()[kind])) == FROZEN[kind]


def test_every_kind_of_visible_value_is_frozen() -> None:
    """A value that is computed is compared."""
    assert visible_names().keys() == FROZEN.keys()
