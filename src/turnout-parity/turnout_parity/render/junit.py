"""A report as JUnit XML: one suite, one case per task and kind of difference, for CI servers."""

import re
from typing import Final
from xml.etree import ElementTree as ET

from turnout_parity.render.plain import in_line
from turnout_parity.report import Difference, GateResult, Kind, ParityReport, TaskCount, Verdict

LINES_LIMIT: Final = 50

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(report: ParityReport) -> str:
    """Write one test case per task, or per gate of it, and one for the verdict.

    Without gates, a task fails where a pair is mismatched.
    """
    suite = ET.Element("testsuite", name="turnout parity")
    suite.set("timestamp", report.checked_at.isoformat(timespec="seconds"))
    suite.set("time", f"{report.duration_ms / 1000:.3f}")
    for name, task in report.tasks.items() if report.gates is None else ():
        _task_case(suite, name, task, [d for d in report.differences if (d.task or "") == name])
    for gated in report.gates.tasks if report.gates is not None else ():
        for gate in gated.gates:
            _gate_case(suite, gated.task, gate)
    _verdict_case(suite, report)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


def _task_case(
    suite: ET.Element, name: str, task: TaskCount, differences: list[Difference]
) -> None:
    case = ET.SubElement(suite, "testcase", classname="turnout_parity", name=_text(name))
    if task.mismatched:
        summary = f"{task.mismatched} of {task.pairs} pairs mismatched"
        failure = ET.SubElement(case, "failure", message=summary, type="mismatched")
        lines = [_line(entry) for entry in differences if entry.ignored_by is None]
        if len(lines) > LINES_LIMIT:
            lines[LINES_LIMIT:] = [f"… {len(lines) - LINES_LIMIT} more in the report"]
        failure.text = _text("\n".join(lines))
    elif not task.matched:
        ET.SubElement(case, "skipped", message="no pair was matched or mismatched")


def _gate_case(suite: ET.Element, task: str, gate: GateResult) -> None:
    name = _text(f"{task}: {gate.gate}")
    case = ET.SubElement(suite, "testcase", classname="turnout_parity.gates", name=name)
    if gate.verdict is not Verdict.PASS:
        ET.SubElement(case, "failure", message=_text(gate.reason), type=str(gate.verdict))


def _verdict_case(suite: ET.Element, report: ParityReport) -> None:
    case = ET.SubElement(suite, "testcase", classname="turnout_parity", name="verdict")
    reason = _text("; ".join(report.reasons))
    if report.verdict is Verdict.FAIL:
        ET.SubElement(case, "failure", message=reason, type="FAIL")
    elif report.verdict is Verdict.INCONCLUSIVE:
        # A verdict that cannot be given blocks as well: a CI server must not show it as passed.
        ET.SubElement(case, "failure", message=reason, type="INCONCLUSIVE")


def _line(difference: Difference) -> str:
    place = f"{difference.run_id} {difference.artifact}#{difference.pointer}"
    step = f" step {difference.step}" if difference.step else ""
    sides = [in_line(difference, side, limit=200) for side in ("primary", "shadow")]
    described = difference.kind in {Kind.MISSING, Kind.INVALID, Kind.OVERLAP}
    detail = f" ({difference.detail})" if described else ""
    return f"{difference.kind}{step}: {place}: {sides[0]} → {sides[1]}{detail}"


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
