"""Where a function's options and calls are written: file and line, found in the syntax tree."""

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from turnout.errors import TurnoutError
from turnout.model.adoption import Kept
from turnout_inngest.adoption.expressions import Path as EventPath
from turnout_inngest.adoption.expressions import equalities
from turnout_inngest.adoption.reach import FunctionNode, Use, node_of, uses

KNOWN_STEPS: Final = {
    *("run", "sleep", "sleep_until", "wait_for_event", "invoke", "invoke_by_id", "send_event"),
}


_LOOKED_AT: Final = {"wait_for_event": "if_exp", "invoke_by_id": "app_id"}


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call inside a function that is not simply kept."""

    option: str
    kept: Kept
    why: str
    file: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Written:
    """Where a function is written. options: the line of each argument of its decorator."""

    file: str = ""
    line: int = 0
    options: dict[str, int] = field(default_factory=dict)
    calls: tuple[Call, ...] = ()


def written(handler: Callable[..., Any], app: str) -> Written:
    """Find a function in its source; what cannot be found is told. app: the client's own id."""
    code = getattr(inspect.unwrap(handler), "__code__", None)
    if code is None:
        return Written()
    file, line = str(code.co_filename), int(code.co_firstlineno)
    node = node_of(inspect.unwrap(handler))
    if node is None:
        call = _unseen(file, line, "source", "its source is not to be found")
        return Written(file=file, line=line, calls=(call,))
    return Written(
        file=file,
        line=node.lineno,
        options=dict(_arguments(node)),
        calls=tuple(each for use in uses(handler) for each in _call(use, app)),
    )


def awaited(handler: Callable[..., Any]) -> Iterator[str]:
    """Find the events that a function waits for by a name that is written, in helpers as well."""
    for use in uses(handler):
        if use.is_member and use.name == "wait_for_event" and use.call is not None:
            for given in use.call.keywords:
                if given.arg == "event" and isinstance(given.value, ast.Constant):
                    yield str(given.value.value)


def _arguments(node: FunctionNode) -> Iterator[tuple[str, int]]:
    for made in node.decorator_list:
        if isinstance(made, ast.Call) and _name(made.func) == "create_function":
            for each in made.keywords:
                if each.arg is None:
                    continue
                yield each.arg, each.value.lineno
                if isinstance(each.value, ast.List | ast.Tuple):
                    for index, inner in enumerate(each.value.elts):
                        yield f"{each.arg}[{index}]", inner.lineno


def _call(use: Use, app: str) -> Iterator[Call]:
    """Say what of a use of steps is not simply kept, or not to be seen."""
    option = f"step.{use.name}"
    if not use.is_member:
        yield _unseen(use.file, use.line, use.name, "is given the context or its steps")
    elif use.name not in KNOWN_STEPS:
        if use.name.startswith("_"):
            return  # the SDK's own: no step is made by it
        why = f"Turnout has no {option}"
        yield Call(option=option, kept=Kept.REFUSED, why=why, file=use.file, line=use.line)
    elif use.name in _LOOKED_AT and use.call is None:
        yield _unseen(use.file, use.line, option, "is called by another name")
    elif use.call is not None and use.name in _LOOKED_AT:
        if any(each.arg is None for each in use.call.keywords):
            yield _unseen(use.file, use.line, option, "takes arguments by **")
        for each in use.call.keywords:
            if each.arg == _LOOKED_AT[use.name]:
                found = _condition_of(each.value) if each.arg == "if_exp" else _app(each.value, app)
                if found is not None:
                    kept, why = found
                    line = each.value.lineno
                    name = f"{use.name} {each.arg}"
                    yield Call(option=name, kept=kept, why=why, file=use.file, line=line)


def _unseen(file: str, line: int, option: str, why: str) -> Call:
    told = f"{why}: look yourself"
    return Call(option=option, kept=Kept.NOT_SEEN, why=told, file=file, line=line)


def _app(value: ast.expr, app: str) -> tuple[Kept, str] | None:
    """Judge the app of a function that is invoked by id: it is the client's own."""
    if not isinstance(value, ast.Constant):
        return Kept.NOT_SEEN, "is not written out; it must be the client's own: look yourself"
    if value.value in {None, app}:
        return None
    return Kept.REFUSED, f"{value.value!r} is another app; only functions of {app!r} are adopted"


def _condition_of(value: ast.expr) -> tuple[Kept, str] | None:
    if isinstance(value, ast.Constant):
        return _condition(str(value.value)) if value.value else None
    if isinstance(value, ast.JoinedStr):  # whatever is put in stands for a value
        parts = (each.value if isinstance(each, ast.Constant) else "0" for each in value.values)
        kept, why = _condition("".join(map(str, parts)))
        return kept, f"read as it runs: {why}"
    return Kept.NOT_SEEN, "is not written out; equalities joined by && only: look yourself"


def _condition(expression: str) -> tuple[Kept, str]:
    try:
        found = equalities(expression)
    except TurnoutError as error:
        return Kept.REFUSED, str(error)
    for equal in found:
        roots = [each.root for each in (equal.left, equal.right) if isinstance(each, EventPath)]
        if roots.count("async") != 1:
            return Kept.REFUSED, f"{expression!r} does not compare async.data.… with what is known"
    return Kept.BY_TURNOUT, expression


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
