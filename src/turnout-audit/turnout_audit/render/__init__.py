"""Reports for people and for machines."""

from typing import Literal

from turnout_audit.model import AuditReport
from turnout_audit.ruleset import Ruleset

Format = Literal["text", "json", "sarif", "markdown"]


def render(report: AuditReport, ruleset: Ruleset, form: Format) -> str:
    """Write a report in a form, ending in a newline."""
    from turnout_audit.render import documents, sarif, text

    match form:
        case "text":
            return text.render(report, ruleset)
        case "json":
            return documents.render_json(report, ruleset)
        case "sarif":
            return sarif.render(report, ruleset)
        case "markdown":
            return documents.render_markdown(report, ruleset)
