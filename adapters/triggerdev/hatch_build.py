"""Puts the worker's source into the wheel, for `turnout triggerdev init`.

An editable install has none: it finds the source in the checkout.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NOT_OURS = frozenset({"node_modules", ".trigger", ".test"})
"""What tools leave in the folder."""


class WorkerSource(BuildHookInterface[Any]):
    """Adds the files by name, so that what npm leaves stays out."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them to a wheel that is to be installed."""
        if version != "standard" or self.target_name != "wheel":
            return
        source = Path(self.root) / "worker"
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source)
            if path.is_file() and not NOT_OURS & set(name.parts):
                build_data["force_include"][str(path)] = f"turnout_triggerdev/worker/{name}"
