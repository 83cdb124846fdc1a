"""Proves that a vendor is gone: the project is installed without its packages, and imported.

Everything happens in a temporary folder: a copy of the project's files, an environment of its own,
and no more of ours than what a program needs to start. Importing an application runs its code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from turnout_audit.errors import WrongArguments
from turnout_audit.removal import copying, node, python
from turnout_audit.removal.proof import Proof
from turnout_audit.removal.vendor import Vendor, of_ruleset
from turnout_audit.ruleset import Ruleset

SECONDS = 600.0
"""How long an installation, a type check or an import may take."""


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What to install, and what to import."""

    project: Path
    entries: Sequence[str] = ()
    """Python modules by their dotted names (`app.*`: with all below), or scripts by their paths."""
    requirements: Sequence[Path] = ()
    extras: Sequence[str] = ()
    groups: Sequence[str] = ()
    interpreter: str = ""
    """The Python to make the environment with; that of the audit where it is empty."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What the imported code finds in its environment, beside what any program needs."""
    seconds: float = SECONDS

    @property
    def scripts(self) -> list[str]:
        """Return the entries that are scripts."""
        return [entry for entry in self.entries if _is_script(entry)]

    @property
    def modules(self) -> list[str]:
        """Return the entries that are Python's modules."""
        return [entry for entry in self.entries if not _is_script(entry)]


def prove(ruleset: Ruleset, removal: Removal) -> Proof:
    """Install a project without the vendor's packages, import it, and say what asks for them.

    Raises WrongArguments where it is not clear what to install or to import, CannotTell where a
    program that is needed is missing, fails, or takes too long.
    """
    vendor = of_ruleset(ruleset)
    if not removal.project.is_dir():
        raise WrongArguments(f"no folder: {removal.project}")
    typed = (removal.project / "tsconfig.json").is_file() and not removal.modules
    if not (removal.entries or typed):
        raise WrongArguments("say what to import: --import MODULE, or --import SCRIPT")
    proof = Proof()
    with TemporaryDirectory(prefix="turnout-removed-", ignore_cleanup_errors=True) as temporary:
        project = Path(temporary).resolve() / "project"
        copying.copy(removal.project, project)
        if removal.modules:
            proof += _of_modules(project, removal, vendor)
        if removal.scripts or typed:
            proof += _of_scripts(project, removal, vendor)
    return proof


def _of_modules(project: Path, removal: Removal, vendor: Vendor) -> Proof:
    planned = python.plan(project, vendor, removal.requirements, removal.extras, removal.groups)
    interpreter = python.install(planned, project, removal.interpreter, removal.seconds)
    return Proof(left_out=planned.left_out) + python.imported(
        interpreter, project, removal.modules, vendor, removal.variables, removal.seconds
    )


def _of_scripts(project: Path, removal: Removal, vendor: Vendor) -> Proof:
    left_out = node.without_vendor(project, vendor)
    node.install(project, removal.seconds)
    return Proof(left_out=left_out) + node.imported(
        project, removal.scripts, vendor, removal.variables, removal.seconds
    )


def _is_script(entry: str) -> bool:
    return "/" in entry or entry.endswith((".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"))
