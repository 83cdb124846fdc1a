"""Where a function's options and calls are written: file and line, found in the syntax tree."""

import ast
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from turnout.errors import TurnoutError
from turnout.ports.adoption import Kept
from turnout_inngest.adoption.expressions import Path as EventPath
from turnout_inngest.adoption.expressions import equalities

KNOWN_STEPS: Final = {
    *("run", "sleep", "sleep_until", "wait_for_event", "invoke", "invoke_by_id", "send_event"),
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call inside a function that is not simply kept."""

    option: str
    kept: Kept
    why: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Written:
    """Where a function is written. options: the line of each argument of its decorator."""

    file: str = ""
    line: int = 0
    options: dict[str, int] = field(default_factory=dict)
    calls: tuple[Call, ...] = ()


def written(handler: Callable[..., Any]) -> Written:
    """Find a function in its source; what cannot be found is left out."""
    code = getattr(inspect.unwrap(handler), "__code__", None)
    if code is None:
        return Written()
    file, line = str(code.co_filename), int(code.co_firstlineno)
    node = _definition(file, line, code.co_name)
    if node is None:
        return Written(file=file, line=line)
    return Written(
        file=file,
        line=node.lineno,
        options=dict(_arguments(node)),
        calls=tuple(_calls(node)),
    )


def awaited(handler: Callable[..., Any]) -> Iterator[str]:
    """Find the events that a function's source waits for by a name that is written there."""
    code = getattr(inspect.unwrap(handler), "__code__", None)
    node = code and _definition(str(code.co_filename), int(code.co_firstlineno), code.co_name)
    for each in ast.walk(node) if node else ():
        if isinstance(each, ast.Call) and _name(each.func) == "wait_for_event":
            for given in each.keywords:
                if given.arg == "event" and isinstance(given.value, ast.Constant):
                    yield str(given.value.value)


_Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.lru_cache(maxsize=256)
def _tree(file: str) -> ast.Module | None:
    try:
        return ast.parse(Path(file).read_text())
    except (OSError, SyntaxError, ValueError):
        return None


def _definition(file: str, line: int, name: str) -> _Function | None:
    tree = _tree(file)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, _Function) and node.name == name:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first <= line <= node.lineno:
                return node
    return None


def _arguments(node: _Function) -> Iterator[tuple[str, int]]:
    for made in node.decorator_list:
        if isinstance(made, ast.Call) and _name(made.func) == "create_function":
            for each in made.keywords:
                if each.arg is None:
                    continue
                yield each.arg, each.value.lineno
                if isinstance(each.value, ast.List | ast.Tuple):
                    for index, inner in enumerate(each.value.elts):
                        yield f"{each.arg}[{index}]", inner.lineno


def _calls(node: _Function) -> Iterator[Call]:
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and _name(each.value) == "step":
            if each.attr not in KNOWN_STEPS and not each.attr.startswith("_"):
                why = f"Turnout has no step.{each.attr}"
                yield Call(option=f"step.{each.attr}", kept=Kept.REFUSED, why=why, line=each.lineno)
        elif isinstance(each, ast.Call) and _name(each.func) == "wait_for_event":
            yield from _waits(each)


def _waits(call: ast.Call) -> Iterator[Call]:
    for each in call.keywords:
        if each.arg != "if_exp" or (isinstance(each.value, ast.Constant) and not each.value.value):
            continue
        if not isinstance(each.value, ast.Constant):
            kept, why = Kept.BY_TURNOUT, "read as it runs; equalities joined by && only"
        else:
            kept, why = _condition(str(each.value.value))
        yield Call(option="wait_for_event if_exp", kept=kept, why=why, line=each.value.lineno)


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
