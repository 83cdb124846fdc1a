"""Functions of a vendor's own SDK, examined by the adapter that knows the SDK."""

from collections.abc import Sequence

from turnout.bootstrap.adapters import installed, load
from turnout.bootstrap.live import load_named
from turnout.errors import InvalidSettings
from turnout.model.adoption import Adoption
from turnout.ports.adoption import Adopts


def adoptions(name: str) -> Sequence[Adoption]:
    """Say what becomes of the functions of the client that `module:attribute` names.

    InvalidSettings where it cannot be loaded, is no client that an installed adapter knows, or has
    no functions in what its module loads.
    """
    client = load_named("client", name)
    adopters = [each for each in map(load, installed()) if isinstance(each, Adopts)]
    for adopter in adopters:
        found = adopter.examine(client)
        if found:
            return found
        if found is not None:
            raise InvalidSettings(f"{name!r} has no functions: name a module that imports them all")
    raise InvalidSettings(
        f"{name!r} is of type {type(client).__name__}, which no installed adapter adopts from"
    )
