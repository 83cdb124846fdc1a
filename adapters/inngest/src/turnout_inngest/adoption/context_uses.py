"""How a function and its helpers use steps, as far as their source shows."""

import ast
import builtins
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final, TypeVar

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_Node = TypeVar("_Node", bound=ast.AST)
MAX_HELPERS: Final = 200
_HIDES: Final = frozenset({"getattr", "vars", "map", "filter", "dict", "list", "tuple", "set"})


@dataclass(frozen=True, kw_only=True)
class Use:
    """A place where steps are used: `step.<name>`, or where the steps are passed to other code."""

    file: str
    line: int
    name: str
    """Of the member of `step`; without one, of what is given the steps and cannot be followed."""
    is_member: bool
    call: ast.Call | None = None


@dataclass(frozen=True, kw_only=True)
class _Scope:
    """A function whose source is known, and the names by which it knows the context and steps."""

    function: Callable[..., Any]
    node: FunctionNode
    file: str
    contexts: frozenset[str]
    steps: frozenset[str]


def uses(handler: Callable[..., Any]) -> Iterator[Use]:
    """Find the uses in a handler, and in the helpers that it passes its context or steps to."""
    function = inspect.unwrap(handler)
    node = node_of(function)
    if node is None:
        return
    first = frozenset(_parameters(node, function)[:1])
    pending = [_scope(function, node, first, frozenset())]
    visited: set[tuple[Any, ...]] = set()
    while pending and len(visited) < MAX_HELPERS:
        scope = pending.pop()
        mark = (scope.file, scope.node.lineno, scope.contexts, scope.steps)
        if mark not in visited:
            visited.add(mark)
            yield from _members(scope)
            yield from _stored(scope)
            for call in _nodes(scope, ast.Call):
                yield from _passed_on(scope, call, pending)


def node_of(function: Callable[..., Any]) -> FunctionNode | None:
    """Find a function in the syntax tree of its file."""
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    tree = _tree(str(code.co_filename))
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, FunctionNode) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first <= code.co_firstlineno <= node.lineno:
                return node
    return None


@functools.lru_cache(maxsize=256)
def _tree(file: str) -> ast.Module | None:
    try:
        return ast.parse(Path(file).read_text())
    except (OSError, SyntaxError, ValueError):
        return None


def _scope(
    function: Callable[..., Any],
    node: FunctionNode,
    contexts: frozenset[str],
    steps: frozenset[str],
) -> _Scope:
    """Find the other names that the function gives its context and its steps."""
    file = str(getattr(function, "__code__").co_filename)  # noqa: B009 - a Callable has none
    scope = _Scope(function=function, node=node, file=file, contexts=contexts, steps=steps)
    assignments = list(_assigned(node))
    for _ in assignments:
        contexts |= {name for name, value in assignments if _is_context(scope, value)}
        steps |= {name for name, value in assignments if _is_steps(scope, value)}
        if (contexts, steps) == (scope.contexts, scope.steps):
            break
        scope = replace(scope, contexts=contexts, steps=steps)
    return scope


def _assigned(node: FunctionNode) -> Iterator[tuple[str, ast.expr]]:
    for node_inside in ast.walk(node):
        if isinstance(node_inside, ast.Assign):
            for target in node_inside.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node_inside.value
        elif (
            isinstance(node_inside, ast.AnnAssign | ast.NamedExpr)
            and isinstance(node_inside.target, ast.Name)
            and node_inside.value is not None
        ):
            yield node_inside.target.id, node_inside.value


def _is_context(scope: _Scope, node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in scope.contexts


def _is_steps(scope: _Scope, node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in scope.steps or node.id == "step"
    return isinstance(node, ast.Attribute) and node.attr == "step"


def _members(scope: _Scope) -> Iterator[Use]:
    calls = {id(attribute.func): attribute for attribute in _nodes(scope, ast.Call)}
    for attribute in _nodes(scope, ast.Attribute):
        if _is_steps(scope, attribute.value):
            call = calls.get(id(attribute))
            yield Use(
                file=scope.file,
                line=attribute.lineno,
                name=attribute.attr,
                is_member=True,
                call=call,
            )


def _stored(scope: _Scope) -> Iterator[Use]:
    """Find where the context or the steps are put into a container: they are not followed there."""
    for container in ast.walk(scope.node):
        inner: list[ast.expr | None] = []
        if isinstance(container, ast.List | ast.Tuple | ast.Set):
            inner = [*container.elts]
        elif isinstance(container, ast.Dict):
            inner = [*container.values]
        elif isinstance(container, ast.Assign) and not all(
            isinstance(target, ast.Name) for target in container.targets
        ):
            inner = [container.value]
        for value in inner:
            if value is not None and _carries(scope, value):
                name = ast.unparse(container)[:80]
                yield Use(file=scope.file, line=value.lineno, name=name, is_member=False)


def _passed_on(scope: _Scope, call: ast.Call, pending: list[_Scope]) -> Iterator[Use]:
    """Follow a call that is given the context or the steps, or report it as a use."""
    named = [(argument.arg, argument.value) for argument in call.keywords]
    carried = [
        (at, argument)
        for at, argument in [*enumerate(call.args), *named]
        if _carries(scope, argument)
    ]
    if not carried or (isinstance(call.func, ast.Attribute) and _is_steps(scope, call.func.value)):
        return
    callee = _resolved(scope.function, call.func)
    if callee is functools.partial and not _carries(scope, call.args[0]):
        partial = ast.Call(func=call.args[0], args=call.args[1:], keywords=call.keywords)
        yield from _passed_on(scope, ast.copy_location(partial, call), pending)
        return
    if isinstance(callee, BuiltinFunctionType | type) and _only_reads(callee):
        return
    inner = _inner(scope, call.func)
    function = callee if isinstance(callee, FunctionType) and inner is None else None
    function = None if function is None else inspect.unwrap(function)
    node = inner if function is None else node_of(function)
    names = [] if node is None else _parameters(node, function)
    parameters = {_parameter(names, at): _is_context(scope, argument) for at, argument in carried}
    if node is None or None in parameters:
        name = f"{ast.unparse(call.func)[:80]}(…)"
        yield Use(file=scope.file, line=call.lineno, name=name, is_member=False)
        return
    contexts = frozenset(str(name) for name, is_context in parameters.items() if is_context)
    steps = frozenset(str(name) for name, is_context in parameters.items() if not is_context)
    if function is None:  # defined inside: it knows its surroundings' names as well
        contexts, steps = contexts | scope.contexts, steps | scope.steps
    pending.append(_scope(function or scope.function, node, contexts, steps))


def _carries(scope: _Scope, node: ast.AST) -> bool:
    return _is_context(scope, node) or _is_steps(scope, node)


def _only_reads(callee: Any) -> bool:
    name = str(getattr(callee, "__name__", ""))
    return getattr(builtins, name, None) is callee and name not in _HIDES


def _inner(scope: _Scope, node: ast.AST) -> FunctionNode | None:
    """Find the function of that name that is defined inside this one."""
    if isinstance(node, ast.Name):
        for node_inside in ast.walk(scope.node):
            if (
                isinstance(node_inside, FunctionNode)
                and node_inside is not scope.node
                and node_inside.name == node.id
            ):
                return node_inside
    return None


def _parameter(names: list[str], place: int | str | None) -> str | None:
    if isinstance(place, int):
        return names[place] if place < len(names) else None
    return place if place in names else None


def _parameters(node: FunctionNode, function: Callable[..., Any] | None) -> list[str]:
    """Name a function's parameters in order; a bound method's without its own object."""
    arguments = node.args
    names = [
        argument.arg
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    ]
    return names[1:] if inspect.ismethod(function) else names


def _resolved(function: Callable[..., Any], node: ast.AST) -> Any:
    """Find what a name stands for where a function was defined, without calling anything."""
    if isinstance(node, ast.Attribute):
        holder = _resolved(function, node.value)
        return vars(holder).get(node.attr) if isinstance(holder, ModuleType) else None
    if not isinstance(node, ast.Name):
        return None
    code, cells = function.__code__, function.__closure__ or ()
    for name, cell in zip(code.co_freevars, cells, strict=False):
        if name == node.id:
            try:
                return cell.cell_contents
            except ValueError:
                return None
    value = function.__globals__.get(node.id)
    return getattr(builtins, node.id, None) if value is None else value


def _nodes(scope: _Scope, kind: type[_Node]) -> Iterator[_Node]:
    return (node for node in ast.walk(scope.node) if isinstance(node, kind))
