"""Reads the words of a plain audit: a rule set, paths, and options that stand in one table.

Everything else, faults and `--help` among it, is left to typer, whose import takes longer than
many an audit.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from turnout_audit.cli.audit import AuditOptions, Form, ScopeChoice

SUBCOMMANDS = ("history", "check", "rules", "terms", "removed")
"""Words in the place of a rule set that are commands of their own."""


def _phase(word: str) -> int:
    """Read a phase of a migration; raises ValueError where it is none."""
    if word not in set("0123456789"):
        raise ValueError(word)
    return int(word)


FLAGS: Mapping[str, tuple[str, object]] = {
    "--json": ("as_json", True),
    "--update-baseline": ("update_baseline", True),
    "--stage-baseline": ("stage_baseline", True),
    "--fix": ("fix", True),
    "--unsafe-fixes": ("unsafe_fixes", True),
    "--diff": ("diff", True),
    "--self": ("itself", True),
}
VALUES: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "--format": ("form", Form),
    "--scope": ("scope", ScopeChoice),
    "--baseline": ("baseline", Path),
    "--output": ("output", Path),
    "--terms": ("terms", Path),
    "--to": ("to", str),
    "--since": ("since", str),
    "--phase": ("phase", _phase),
    "--explain": ("explain", str),
}


REPEATED = {"--select": "select", "--ignore": "ignore"}
"""Options that may be given several times."""


def plain_options(words: Sequence[str]) -> AuditOptions | None:
    """Read the words of an audit; None where a word is not of the table, or not plain."""
    options: dict[str, Any] = {}
    named: list[str] = []
    waiting = iter(words)
    for word in waiting:
        option, equals, value = word.partition("=")
        if not word.startswith("-"):
            named.append(word)
        elif word in FLAGS:
            name, flag = FLAGS[word]
            options[name] = flag
        elif option in VALUES:
            name, read = VALUES[option]
            try:
                options[name] = read(value if equals else next(waiting))
            except (StopIteration, ValueError):
                return None
        elif option in REPEATED:
            name = REPEATED[option]
            text = value if equals else next(waiting, None)
            if text is None:
                return None
            options[name] = (*options.get(name, ()), text)
        else:
            return None
    if not named or named[0] in SUBCOMMANDS or words[0] != named[0]:
        return None
    if options.pop("as_json", False):
        options["form"] = Form.JSON
    return AuditOptions(ruleset=named[0], paths=tuple(named[1:]), **options)
