"""A report as a terminal table, as JSON, as JUnit and as one page of HTML."""

from turnout.parity.render.junit import render_junit
from turnout.parity.render.page import render_html
from turnout.parity.render.plain import render_json
from turnout.parity.render.terminal import render_terminal

__all__ = ["render_html", "render_json", "render_junit", "render_terminal"]
