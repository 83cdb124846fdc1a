"""Where a function's options and calls are written: file and line, found in the syntax tree."""

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from turnout.errors import TurnoutError
from turnout.model.adoption import AdoptionOutcome
from turnout_inngest.adoption.context_uses import FunctionNode, Use, node_of, uses
from turnout_inngest.adoption.expressions import Path as EventPath
from turnout_inngest.adoption.expressions import equalities

OFFERED_STEPS: Final = {
    *("run", "sleep", "sleep_until", "wait_for_event", "invoke", "invoke_by_id", "send_event"),
}


_JUDGED_ARGUMENTS: Final = {"wait_for_event": "if_exp", "invoke_by_id": "app_id"}


@dataclass(frozen=True, kw_only=True)
class CallFinding:
    """A call inside a function that is not simply kept."""

    option: str
    outcome: AdoptionOutcome
    reason: str
    file: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a function is written."""

    file: str = ""
    line: int = 0
    options: dict[str, int] = field(default_factory=dict)
    """The line of each argument of its decorator."""
    calls: tuple[CallFinding, ...] = ()


def locate(handler: Callable[..., Any], app: str) -> Location:
    """Find a function in its source; what cannot be found is reported. app: the client's id."""
    code = getattr(inspect.unwrap(handler), "__code__", None)
    if code is None:
        return Location()
    file, line = str(code.co_filename), int(code.co_firstlineno)
    node = node_of(inspect.unwrap(handler))
    if node is None:
        call = _unseen(file, line, "source", "its source is not to be found")
        return Location(file=file, line=line, calls=(call,))
    return Location(
        file=file,
        line=node.lineno,
        options=dict(_arguments(node)),
        calls=tuple(call for use in uses(handler) for call in _call(use, app)),
    )


def awaited(handler: Callable[..., Any]) -> Iterator[str]:
    """Find the events that a function waits for by a name that is written, in helpers as well."""
    for use in uses(handler):
        if use.is_member and use.name == "wait_for_event" and use.call is not None:
            for keyword in use.call.keywords:
                if keyword.arg == "event" and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value)


def _arguments(node: FunctionNode) -> Iterator[tuple[str, int]]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and _name(decorator.func) == "create_function":
            for keyword in decorator.keywords:
                if keyword.arg is None:
                    continue
                yield keyword.arg, keyword.value.lineno
                if isinstance(keyword.value, ast.List | ast.Tuple):
                    for index, inner in enumerate(keyword.value.elts):
                        yield f"{keyword.arg}[{index}]", inner.lineno


def _call(use: Use, app: str) -> Iterator[CallFinding]:
    """Report a use of steps that is not simply kept, or cannot be judged."""
    option = f"step.{use.name}"
    if not use.is_member:
        yield _unseen(use.file, use.line, use.name, "is given the context or its steps")
    elif use.name not in OFFERED_STEPS:
        if use.name.startswith("_"):
            return  # the SDK's own: no step is made by it
        reason = f"Turnout has no {option}"
        yield CallFinding(
            option=option,
            outcome=AdoptionOutcome.REFUSED,
            reason=reason,
            file=use.file,
            line=use.line,
        )
    elif use.name in _JUDGED_ARGUMENTS and use.call is None:
        yield _unseen(use.file, use.line, option, "is called by another name")
    elif use.call is not None and use.name in _JUDGED_ARGUMENTS:
        if any(keyword.arg is None for keyword in use.call.keywords):
            yield _unseen(use.file, use.line, option, "takes arguments by **")
        for keyword in use.call.keywords:
            if keyword.arg == _JUDGED_ARGUMENTS[use.name]:
                judgement = (
                    _condition_of(keyword.value)
                    if keyword.arg == "if_exp"
                    else _app(keyword.value, app)
                )
                if judgement is not None:
                    outcome, reason = judgement
                    line = keyword.value.lineno
                    name = f"{use.name} {keyword.arg}"
                    yield CallFinding(
                        option=name, outcome=outcome, reason=reason, file=use.file, line=line
                    )


def _unseen(file: str, line: int, option: str, reason: str) -> CallFinding:
    advice = f"{reason}: look yourself"
    return CallFinding(
        option=option, outcome=AdoptionOutcome.NOT_SEEN, reason=advice, file=file, line=line
    )


def _app(value: ast.expr, app: str) -> tuple[AdoptionOutcome, str] | None:
    """Judge the app of a function that is invoked by id: it is the client's own."""
    if not isinstance(value, ast.Constant):
        return (
            AdoptionOutcome.NOT_SEEN,
            "is not written out; it must be the client's own: look yourself",
        )
    if value.value in {None, app}:
        return None
    return (
        AdoptionOutcome.REFUSED,
        f"{value.value!r} is another app; only functions of {app!r} are adopted",
    )


def _condition_of(value: ast.expr) -> tuple[AdoptionOutcome, str] | None:
    if isinstance(value, ast.Constant):
        return _condition(str(value.value)) if value.value else None
    if isinstance(value, ast.JoinedStr):  # whatever is put in stands for a value
        parts = (part.value if isinstance(part, ast.Constant) else "0" for part in value.values)
        outcome, reason = _condition("".join(map(str, parts)))
        return outcome, f"read as it runs: {reason}"
    return (
        AdoptionOutcome.NOT_SEEN,
        "is not written out; equalities joined by && only: look yourself",
    )


def _condition(expression: str) -> tuple[AdoptionOutcome, str]:
    try:
        equal_sides = equalities(expression)
    except TurnoutError as error:
        return AdoptionOutcome.REFUSED, str(error)
    for equal in equal_sides:
        roots = [side.root for side in (equal.first, equal.second) if isinstance(side, EventPath)]
        if roots.count("async") != 1:
            return (
                AdoptionOutcome.REFUSED,
                f"{expression!r} does not compare async.data.… with what is known",
            )
    return AdoptionOutcome.BY_TURNOUT, expression


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
