"""Which packages and modules are a vendor's, as the rules of its rule set name them."""

from collections.abc import Callable
from dataclasses import dataclass

from turnout_audit.errors import WrongArguments
from turnout_audit.manifests import requirement_test
from turnout_audit.names import Fits, fits
from turnout_audit.ruleset import ImportMatch, ManifestMatch, Ruleset


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """A vendor's packages and modules."""

    is_package: Callable[[str], bool]
    """Whether a requirement, as a manifest writes it, is one of the vendor's packages."""
    modules: tuple[str, ...]
    """Globs of its modules, in Python and in scripts."""
    is_module: Fits


def of_ruleset(ruleset: Ruleset) -> Vendor:
    """Return the vendor of a rule set; raises WrongArguments where its rules name no packages."""
    matches = [match for rule in ruleset.rules for match in rule.match]
    packages = [  # a rule for old versions, or for some names of a module, says nothing is gone
        glob
        for match in matches
        if isinstance(match, ManifestMatch) and match.below is None and not match.mixed
        for glob in match.manifest
    ]
    modules = tuple(
        glob
        for match in matches
        if isinstance(match, ImportMatch) and not match.names
        for glob in match.import_
    )
    if not packages or not modules:
        raise WrongArguments(f"the rules of {ruleset.ruleset} name no packages to leave out")
    return Vendor(is_package=requirement_test(packages), modules=modules, is_module=fits(modules))
