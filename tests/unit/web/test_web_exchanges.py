"""What a worker of protocol 1 is answered stays as it is, byte for byte."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from exchanges import exchanges

RECORDED = json.loads((Path(__file__).parent / "exchanges_of_protocol_1.json").read_text())
"""The same conversation with the version before this file was written."""


async def test_the_answers_of_protocol_1_stay() -> None:
    """A worker that was copied into a user's repository reads what it always read."""
    spoken = await exchanges()
    assert [exchange["name"] for exchange in spoken] == [recorded["name"] for recorded in RECORDED]
    for exchange, recorded in zip(spoken, RECORDED, strict=True):
        assert exchange == recorded, recorded["name"]
