"""Functions of a vendor's own SDK, examined by the adapter that knows the SDK."""

from collections.abc import Sequence

from turnout.bootstrap.adapters import installed, load
from turnout.bootstrap.user_code import load_attribute
from turnout.errors import InvalidSettings
from turnout.model.adoption import Adoption
from turnout.ports.adoption import Adopts


def adoptions(name: str) -> Sequence[Adoption]:
    """Say what becomes of the functions of the client that `module:attribute` names.

    InvalidSettings where it cannot be loaded, is no client that an installed adapter knows, or has
    no functions in what its module loads.
    """
    client = load_attribute("client", name)
    for plugin in map(load, installed()):
        functions = plugin.examine(client) if isinstance(plugin, Adopts) else None
        if functions:
            return functions
        if functions is not None:
            raise InvalidSettings(f"{name!r} has no functions: name a module that imports them all")
    raise InvalidSettings(
        f"{name!r} is of type {type(client).__name__}, which no installed adapter adopts from"
    )
