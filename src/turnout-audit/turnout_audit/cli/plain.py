"""A command's parameters, said once: for typer, and for starting without it.

A function says in its annotations how it is called: `Annotated[bool, option("--fix", help="…")]`.
`typed` hands that on to typer, which parses, completes and explains. `run_plainly` reads the plain
forms alone, whose meaning is beyond doubt, and leaves every other word, and what it has to say to
it, to typer.
"""

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

COMPLETION = "_TURNOUT_COMPLETE"
"""Set where a shell asks for completions."""
BROKEN_PIPE, INTERRUPTED = 1, 130


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """How a parameter is given: by these names, or, without any, by its place."""

    names: tuple[str, ...]
    positional: bool
    help: str
    least: int | None = None
    most: int | None = None


def argument(help: str) -> Given:
    """Say that a parameter is given by its place."""
    return Given(names=(), positional=True, help=help)


def option(*names: str, help: str, least: int | None = None, most: int | None = None) -> Given:
    """Say that a parameter is given by a name; without names its own is taken."""
    return Given(names=names, positional=False, help=help, least=least, most=most)


def typed(command: Callable[..., int]) -> Callable[..., None]:
    """Make the form of a command that typer takes; its answer becomes the exit code."""
    import typer

    def told(given: Given) -> Any:
        if given.positional:
            return typer.Argument(help=given.help)
        return typer.Option(*given.names, help=given.help, min=given.least, max=given.most)

    @wraps(command)
    def run(**given: Any) -> None:
        raise typer.Exit(command(**given))

    parameters = [
        each.replace(annotation=_annotated(kind, told(given)))
        for each, kind, given in _parameters(command)
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def run_plainly(command: Callable[..., int], words: Sequence[str]) -> None:
    """Run a command and exit, if its words are plain; else return, and nothing has happened."""
    given = None if COMPLETION in os.environ else read(command, words)
    if given is None:
        return
    try:
        code = command(**given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # whoever read is gone; nor may the interpreter's own flush complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = BROKEN_PIPE
    sys.exit(code)


def read(command: Callable[..., int], words: Sequence[str]) -> dict[str, Any] | None:
    """Read plain words: the parameters that they give, or None."""
    try:
        return dict(_read(command, words))
    except _NotPlain:
        return None


class _NotPlain(Exception):
    """Something that typer shall read."""


def _read(command: Callable[..., int], words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    places: list[tuple[str, Any]] = []
    named: dict[str, tuple[str, Any]] = {}
    for each, kind, given in _parameters(command):
        if given.positional:
            places.append((each.name, kind))
        names = given.names or (f"--{each.name.replace('_', '-')}",)
        named.update(dict.fromkeys(() if given.positional else names, (each.name, kind)))
    rest = iter(words)
    alone: list[str] = []
    seen: set[str] = set()
    for word in rest:
        if not word.startswith("-"):
            alone.append(word)
            continue
        option, equals, value = word.partition("=")
        name, kind = named.get(option, ("", None))
        if not name or name in seen or (kind is bool and equals):
            raise _NotPlain
        seen.add(name)
        yield name, True if kind is bool else _value(kind, value if equals else next(rest, ""))
    yield from _placed(places, alone)


def _placed(places: Sequence[tuple[str, Any]], alone: list[str]) -> Iterator[tuple[str, Any]]:
    """Give each place its word, and a list at the end the others."""
    for name, kind in places:
        if _one(kind) is list:
            yield name, list(alone)
            return
        if not alone:
            return
        yield name, _value(kind, alone.pop(0))
    if alone:
        raise _NotPlain


def _value(kind: Any, word: str) -> Any:
    kind = _one(kind)
    if not word or word.startswith("-"):
        raise _NotPlain
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if word not in {each.value for each in kind}:
            raise _NotPlain
        return kind(word)
    if kind in (str, Path):
        return kind(word)
    raise _NotPlain


def _one(kind: Any) -> Any:
    """Take the type of a value that may be left out."""
    if isinstance(kind, UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    return get_origin(kind) or kind


def _parameters(
    command: Callable[..., int],
) -> Iterator[tuple[inspect.Parameter, Any, Given]]:
    signature: Mapping[str, inspect.Parameter] = inspect.signature(command).parameters
    for each in signature.values():
        kind, given = get_args(each.annotation)
        yield each, kind, given


def _annotated(kind: Any, told: Any) -> Any:
    from typing import Annotated

    return Annotated[kind, told]
