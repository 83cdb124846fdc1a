"""A node's place is that of its range."""

from ast_grep_py import SgRoot
from hypothesis import given
from hypothesis import strategies as st
from turnout_audit import nodes


@given(st.lists(st.text("aé😀 \n", max_size=5), min_size=1))
def test_a_place_is_that_of_the_range(names: list[str]) -> None:
    """In characters, also behind letters of several bytes, and on any line."""
    text = ",".join(f"`{name}`" for name in names)
    for node in SgRoot(text, "tsx").root().find_all({"rule": {"kind": "template_string"}}):
        place = node.range()
        assert nodes.span(node) == (place.start.index, place.end.index)
