"""A report as JSON."""

from turnout.parity.report import Report


def render_json(report: Report) -> str:
    """Write the documented result; a label or detail that says nothing is left out."""
    return report.model_dump_json(indent=2, exclude_none=False)
