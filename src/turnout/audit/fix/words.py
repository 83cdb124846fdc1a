"""Fixes of a word where it stands."""

from turnout.audit.fix.case import Case, Mended


def replace(case: Case) -> Mended:
    """Put `to` in place of what was matched; `{name}` stands for what the match captured."""
    try:
        new = (case.fix.to or "").format_map(case.finding.captured)
    except (KeyError, IndexError, ValueError) as error:
        return f"the match did not capture {error}"
    if new == case.finding.matched:
        return "already as it shall be"
    return [case.edit(case.finding.start, case.finding.end, new)]


def module(case: Case) -> Mended:
    """Rename a module where it stands quoted, by `table`."""
    for old, new in case.fix.table.items():
        for quote in "'\"`":
            at = case.text.find(quote + old + quote, case.finding.start, _end(case))
            if at >= 0:
                start = at + 1
                return [case.edit(start, start + len(old), new)]
        if case.finding.matched == old:
            return [case.edit(case.finding.start, case.finding.end, new)]
    return "the module's name is not written out here"


def _end(case: Case) -> int:
    """Read to the end of the statement's last line: a match may end before the module's name."""
    line_end = case.text.find("\n", case.finding.end)
    return len(case.text) if line_end < 0 else line_end
