"""The variables that a deployment sets, and puts back when a later step fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnout.errors import ProviderRefused, TurnoutError
from turnout_triggerdev.api import Api
from turnout_triggerdev.settings import TriggerdevSettings


@dataclass(frozen=True, kw_only=True)
class DesiredVariable:
    """A variable to set. The platform never shows a secret again, so few variables are secrets."""

    name: str
    value: str = field(repr=False)
    secret: bool


@dataclass(frozen=True, kw_only=True)
class Restored:
    """The changed variables, by name and by what has become of them."""

    back: tuple[str, ...]
    unreadable: tuple[str, ...]
    """Secrets, whose former values cannot be read and so cannot be put back."""
    failed: tuple[str, ...]


class EnvironmentVariables:
    """The variables of one environment, which all of its versions share."""

    def __init__(
        self, api: Api, settings: TriggerdevSettings, desired: tuple[DesiredVariable, ...]
    ) -> None:
        self.keep = False
        """Whether the variables stay as set, even if a later step fails."""
        self._api = api
        self._path = f"/api/v1/projects/{settings.project_ref}/envvars/{settings.environment}"
        self._desired = desired
        self._before: dict[str, Mapping[str, Any] | None] = {}
        self._changed: list[str] = []

    async def push(self) -> None:
        """Set the variables that differ; TurnoutError when the platform refuses one."""
        names = [variable.name for variable in self._desired]
        self._before = {name: await self._api.get(f"{self._path}/{name}") for name in names}
        for variable in self._desired:
            before = self._before.get(variable.name)
            if before is not None and not variable.secret and _shown(before) == variable.value:
                continue
            self._changed.append(variable.name)
            try:
                await self._set(variable)
            except ProviderRefused:
                self._changed.remove(variable.name)
                raise

    async def put_back(self) -> Restored | None:
        """Put the former values back, as far as they could be read; None if none was changed."""
        if self.keep or not self._changed:
            return None
        changed, self._changed = self._changed, []
        outcomes: dict[str, list[str]] = {"back": [], "unreadable": [], "failed": []}
        for name in changed:
            outcomes[await self._put_one_back(name)].append(name)
        return Restored(**{key: tuple(names) for key, names in outcomes.items()})

    async def _put_one_back(self, name: str) -> str:
        before = self._before.get(name)
        try:
            if before is None:
                await self._api.delete(f"{self._path}/{name}")
            elif (value := _shown(before)) is None:
                return "unreadable"
            else:
                await self._set(DesiredVariable(name=name, value=value, secret=False))
        except TurnoutError:
            return "failed"
        return "back"

    async def _set(self, variable: DesiredVariable) -> None:
        body = {
            "variables": {variable.name: variable.value},
            "override": True,
            "isSecret": variable.secret,
        }
        if await self._api.post(f"{self._path}/import", body) is None:
            raise ProviderRefused(f"triggerdev has no place for {variable.name} in this project")


def _shown(variable: Mapping[str, Any]) -> str | None:
    """The value that the platform shows; None for a secret."""
    value = variable.get("value")
    return value if isinstance(value, str) and not variable.get("isSecret") else None
