"""A report as a terminal table, as JSON, as JUnit and as one page of HTML."""

from turnout_parity.render.junit import render_junit
from turnout_parity.render.page import render_html
from turnout_parity.render.plain import render_json
from turnout_parity.render.terminal import render_terminal

__all__ = ["render_html", "render_json", "render_junit", "render_terminal"]
