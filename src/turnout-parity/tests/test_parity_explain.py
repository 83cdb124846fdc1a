"""What DeepDiff says of differing values, and that nothing depends on it."""

import io
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from turnout_parity.explain import BYTES_LIMIT, EXPLAINED_LIMIT, LINE_LIMIT, Explainer
from turnout_parity.render import render_html, render_json, render_terminal
from turnout_parity.report import Explanation, ParityReport

ORDER = {
    "items": [{"title": "apples and pears", "text": "one\ntwo\nthree"}, {"title": "plums"}],
    "total": 1,
}
CHANGED = {
    "items": [
        {"title": "cherries"},
        {"title": "apples and pears", "text": "one\n2\nthree"},
        {"title": "plums"},
    ],
    "total": 1.0,
}


def test_an_inserted_item_is_told_from_a_changed_one() -> None:
    """Items are matched by likeness, texts are compared line by line, types are named."""
    explanation = Explainer()(ORDER, CHANGED)
    assert explanation is not None
    assert explanation.summary == "1 value changed, 1 type changed, 1 item added"
    assert explanation.lines == [
        "/items/0/text: the text changed",
        *("  @@ -1,3 +1,3 @@", "   one", "  -two", "  +2", "   three"),
        "/total: 1 became 1.0: integer became number with a point",
        '/items/0: only the shadow has {"title":"cherries"}',
    ]


def test_another_order_is_called_that() -> None:
    """Nothing but the order differs."""
    explanation = Explainer()({"n": [1, 2, 3]}, {"n": [3, 1, 2]})
    assert explanation is not None
    assert (explanation.summary, explanation.lines) == ("the same items in another order", [])
    assert Explainer()([0.0], [-0.0]) is None


def test_explanations_are_bounded() -> None:
    """In number, in size and in lines."""
    explain = Explainer()
    assert explain({"a": "x" * BYTES_LIMIT}, {"a": "y"}) is None
    assert explain(1, 2) is None
    long = explain({str(n): n for n in range(100)}, {str(n): -n for n in range(100)})
    assert long is not None
    assert long.lines[LINE_LIMIT:] == [f"… {99 - LINE_LIMIT} more lines"]
    explanations = [explain([n], [-1]) for n in range(EXPLAINED_LIMIT)]
    assert explanations[-2] is not None
    assert explanations[-1] is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(-2, 2)
    | st.text("ab\n/~", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/'\"", max_size=2), inner)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(JSON, max_size=4), st.lists(JSON, max_size=4))
def test_any_two_values_can_be_explained(primary: list[Any], shadow: list[Any]) -> None:
    """Whatever they hold, the explanation is text, and stops nothing."""
    explanation = Explainer()(primary, shadow) or Explanation(summary="", lines=[])
    assert all(isinstance(line, str) for line in (explanation.summary, *explanation.lines))


@pytest.fixture
async def report(shelf: Any) -> ParityReport:
    """Check one pair with results that differ."""
    shelf.pair("a", result=ORDER, shadow={"result": CHANGED})
    found: ParityReport = await shelf.check()
    return found


def test_every_report_shows_the_explanation(report: ParityReport) -> None:
    """Once for two values, at their first difference."""
    explained = [each for each in report.differences if each.explanation]
    assert len(explained) == 1
    assert '"summary": "1 value changed, 1 type changed, 1 item added"' in render_json(report)
    page = render_html(report)
    assert "1 value changed, 1 type changed, 1 item added" in page
    assert '<span class="minus">  -two</span>' in page
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_terminal(report))
    text = console.export_text()
    assert "a status.json: 1 value changed, 1 type changed, 1 item added" in text
    assert "  -two" in text


async def test_deepdiff_is_not_imported_where_nothing_differs(
    shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a third of a second."""
    monkeypatch.setitem(sys.modules, "deepdiff", None)
    shelf.pair("a", result=ORDER)
    assert (await shelf.check()).warnings == []
