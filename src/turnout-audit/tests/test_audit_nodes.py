"""A node's place is that of its range, and takes as long wherever it stands on a line."""

import pytest
from ast_grep_py import SgRoot
from hypothesis import given
from hypothesis import strategies as st
from turnout_audit import bounds, nodes
from turnout_audit.load import load
from turnout_audit.scan import Scanner


@given(st.lists(st.text("aé😀 \n", max_size=5), min_size=1))
def test_a_place_is_that_of_the_range(names: list[str]) -> None:
    """In characters, also behind letters of several bytes, and on any line."""
    text = ",".join(f"`{name}`" for name in names)
    for node in SgRoot(text, "tsx").root().find_all({"rule": {"kind": "template_string"}}):
        place = node.range()
        assert nodes.span(node) == (place.start.index, place.end.index)


@pytest.mark.parametrize(
    ("path", "start", "piece"),
    [("a.json", '{"a": [', '{"b": "inngest"},'), ("a.ts", 'import "inngest";', "inngest.send();")],
)
def test_a_tree_of_one_line_is_read_in_linear_time(path: str, start: str, piece: str) -> None:
    """So many nodes take a small part of the bound; with the columns counted they exceed it."""
    with bounds.bounded(bounds.SECONDS):
        scan = Scanner(load("inngest")).scan(path, start + piece * 60_000)
    assert scan.findings or scan.unclassified
