"""The variables that a deployment sets: late, and put back when a later step fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnout.errors import ProviderRefused, TurnoutError
from turnout_triggerdev.api import Api
from turnout_triggerdev.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A variable as it is to be; a secret cannot be read back, so what need not be one is none."""

    name: str
    value: str = field(repr=False)
    secret: bool


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What became of the variables that were changed, by name."""

    back: tuple[str, ...]
    left: tuple[str, ...]
    """Secrets: the platform shows no value of theirs that could be put back."""
    failed: tuple[str, ...]


class Variables:
    """The variables of one environment, which all of its versions share."""

    def __init__(self, api: Api, settings: Settings, wanted: tuple[Wanted, ...]) -> None:
        self.kept = False
        """Whether what was set stays, whatever comes."""
        self._api = api
        self._path = f"/api/v1/projects/{settings.project_ref}/envvars/{settings.environment}"
        self._wanted = wanted
        self._before: dict[str, Mapping[str, Any] | None] = {}
        self._changed: list[str] = []

    async def push(self) -> None:
        """Set what is not so already; TurnoutError when the platform does not take it."""
        names = [each.name for each in self._wanted]
        self._before = {name: await self._api.get(f"{self._path}/{name}") for name in names}
        for each in self._wanted:
            before = self._before.get(each.name)
            if before is not None and not each.secret and _shown(before) == each.value:
                continue
            self._changed.append(each.name)
            try:
                await self._set(each)
            except ProviderRefused:
                self._changed.remove(each.name)
                raise

    async def put_back(self) -> Restored | None:
        """Put the former values back, as far as they could be read; None where none was changed."""
        if self.kept or not self._changed:
            return None
        changed, self._changed = self._changed, []
        told: dict[str, list[str]] = {"back": [], "left": [], "failed": []}
        for name in changed:
            told[await self._one_back(name)].append(name)
        return Restored(**{key: tuple(names) for key, names in told.items()})

    async def _one_back(self, name: str) -> str:
        before = self._before.get(name)
        try:
            if before is None:
                await self._api.delete(f"{self._path}/{name}")
            elif (value := _shown(before)) is None:
                return "left"
            else:
                await self._set(Wanted(name=name, value=value, secret=False))
        except TurnoutError:
            return "failed"
        return "back"

    async def _set(self, variable: Wanted) -> None:
        body = {
            "variables": {variable.name: variable.value},
            "override": True,
            "isSecret": variable.secret,
        }
        if await self._api.post(f"{self._path}/import", body) is None:
            raise ProviderRefused(f"triggerdev has no place for {variable.name} in this project")


def _shown(variable: Mapping[str, Any]) -> str | None:
    """Give the value that the platform shows; None for a secret."""
    value = variable.get("value")
    return value if isinstance(value, str) and not variable.get("isSecret") else None
