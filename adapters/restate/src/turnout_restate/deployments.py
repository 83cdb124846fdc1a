"""What the server knows of this service: its address, from which it reads the handlers."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from turnout.errors import ProviderRefused, ProviderUnavailable
from turnout_restate.api import NotRegistered, RestateApi, Row, literal, objects_in, text_in
from turnout_restate.settings import RestateSettings

_UNAUTHORIZED: Final = f"{HTTPStatus.UNAUTHORIZED.value} {HTTPStatus.UNAUTHORIZED.phrase}"
"""What the server quotes of a service that refuses its call."""


class Deployments:
    """Registers the service's address, also again at a server that has lost its state."""

    def __init__(
        self, api: RestateApi, settings: RestateSettings, services: frozenset[str]
    ) -> None:
        """services: the vendor's names of all that the service serves."""
        self._api = api
        self._settings = settings
        self._services = services
        self._registering = asyncio.Lock()
        self._registrations = 0
        """How often this process has registered."""

    async def invoke(
        self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Call a handler by the ingress; registers first where the server knows it no more."""
        before = self._registrations
        try:
            return await self._api.ingress(path, body, headers=headers)
        except NotRegistered:
            async with self._registering:
                if self._registrations == before:
                    await self._register()
        return await self._api.ingress(path, body, headers=headers)

    async def register(self) -> None:
        """Register this service's address; its earlier addresses go once nothing runs there."""
        async with self._registering:
            await self._register()

    async def newest_elsewhere(self) -> str:
        """Return the address that new invocations go to; empty where it is this service's."""
        listed = objects_in(await self._api.admin("GET", "/deployments"), "deployments")
        known = [item for item in listed if self._revision(item) is not None]
        newest = max(known, key=lambda item: self._revision(item) or 0, default=None)
        address = "" if newest is None else str(newest.get("uri", "")).rstrip("/")
        return "" if address == self._settings.served_at else address

    async def _register(self) -> None:
        answer = await self._post()
        if answer is None:
            raise ProviderRefused(
                f"{self._settings.admin} has no deployments; see that RESTATE_ADMIN_URL is the"
                " admin API of a Restate server"
            )
        self._registrations += 1
        await self._remove_drained(text_in(answer, "id"))

    async def _post(self) -> Any:
        """Have the server read from this service what it serves; the server's answer."""
        uri = self._settings.served_at
        try:
            return await self._api.admin(
                "POST", "/deployments", {"uri": uri, "use_http_11": True, "force": True}
            )
        except ProviderUnavailable as error:
            if _UNAUTHORIZED not in str(error):
                raise
            fix = (
                f"{uri} refuses the server's calls: set RESTATE_IDENTITY_KEYS of this service to"
                " the public key of that server, and have the server sign its calls by"
                " RESTATE_REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE"
            )
            raise ProviderUnavailable(f"{fix}. {error}") from None

    async def _remove_drained(self, current: str) -> None:
        """Remove deployments that are older than the current one, where nothing is pinned.

        One that another process has registered since is newer: new invocations go there.
        """
        listed = objects_in(await self._api.admin("GET", "/deployments"), "deployments")
        revisions = {text_in(item, "id"): self._revision(item) for item in listed}
        newest = revisions.get(current)
        for deployment, revision in revisions.items():
            if revision is None or newest is None or revision >= newest:
                continue
            pinned = await self._api.query(
                "SELECT id FROM sys_invocation WHERE status != 'completed'"  # noqa: S608
                f" AND pinned_deployment_id = {literal(deployment)} LIMIT 1"
            )
            if not pinned:
                await self._api.admin("DELETE", f"/deployments/{deployment}?force=true")

    def _revision(self, deployment: Row) -> int | None:
        """Read the newest revision of our services at an address; None where others are there."""
        services = objects_in(deployment, "services")
        names = {service.get("name") for service in services}
        if not services or not names <= self._services:
            return None
        revisions = [service.get("revision") for service in services]
        return max((number for number in revisions if isinstance(number, int)), default=None)
