"""What the double answers `trigger deploy`: a number, the indexed tasks, the end, the promotion."""

from pathlib import Path
from typing import Any

import pytest
from turnout_triggerdev_double.server.main import KEYS

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROD = {"authorization": f"Bearer {KEYS['prod']}"}
METADATA = {"contentHash": "h", "tasks": [{"id": "work", "filePath": "src/tasks.ts"}]}
FINALIZED = {"imageDigest": "sha256:00", "skipPromotion": True}


class Deploys:
    """The calls of the CLI and of the build, with the production environment's key."""

    def __init__(self, server: Any) -> None:
        self.server = server

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON, or the text of an answer that is none."""
        answer = await self.server.api.call(method, path, body, headers=PROD)
        streamed = "event-stream" in answer.headers.get("content-type", "")
        return answer.text if streamed else answer.json()

    async def begun(self) -> Any:
        """A new deployment."""
        return await self.ask("POST", "/api/v1/deployments", {"contentHash": "h"})

    async def indexed(self, deployment: str) -> Any:
        """Its tasks are known."""
        path = f"/api/v1/deployments/{deployment}/background-workers"
        return await self.ask("POST", path, {"localOnly": True, "metadata": METADATA})

    async def finalized(self, deployment: str, **more: Any) -> str:
        """The event that ends it."""
        path = f"/api/v3/deployments/{deployment}/finalize"
        return str(await self.ask("POST", path, FINALIZED | more))

    async def status(self, deployment: str) -> str:
        """How far it is."""
        return str((await self.ask("GET", f"/api/v1/deployments/{deployment}"))["status"])

    async def trigger(self, **options: Any) -> str:
        """A run in production."""
        body = {"payload": {}, "options": options}
        return str((await self.ask("POST", "/api/v1/tasks/work/trigger", body))["id"])

    async def taken(self) -> list[tuple[str, str]]:
        """The runs that a worker gets, each with its version."""
        found = await self.ask("POST", "/engine/v1/dev/dequeue", {"currentWorker": ""})
        messages = found["dequeuedMessages"]
        return [(m["run"]["friendlyId"], m["backgroundWorker"]["version"]) for m in messages]


async def test_a_deployment_goes_from_building_to_deployed(offline: Any) -> None:
    """Begun, indexed, finalized; the number is given at the beginning."""
    deploys = Deploys(offline)
    begun = await deploys.begun()
    assert await deploys.status(begun["id"]) == "BUILDING"
    indexed = await deploys.indexed(begun["id"])
    assert (indexed["version"], await deploys.status(begun["id"])) == (
        *(begun["version"], "DEPLOYING"),
    )
    assert (await deploys.finalized(begun["id"])).startswith("event: complete\n")
    assert await deploys.status(begun["id"]) == "DEPLOYED"
    other = await deploys.begun()
    assert int(other["version"].partition(".")[2]) == int(begun["version"].partition(".")[2]) + 1
    deployed = await deploys.ask("GET", "/api/v1/deployments?status=DEPLOYED")
    assert [each["id"] for each in deployed["data"]] == [begun["id"]]


async def test_only_locked_runs_start_in_a_version_before_its_promotion(offline: Any) -> None:
    """So a worker can be looked through while nobody depends on it; the others wait."""
    deploys = Deploys(offline)
    begun = await deploys.begun()
    await deploys.indexed(begun["id"])
    await deploys.finalized(begun["id"])
    waits = await deploys.trigger()
    locked = await deploys.trigger(lockToVersion=begun["version"])
    assert await deploys.taken() == [(locked, begun["version"])]
    assert (await deploys.ask("GET", f"/api/v3/runs/{waits}"))["status"] == "QUEUED"
    await deploys.ask("POST", f"/api/v1/deployments/{begun['version']}/promote")
    assert await deploys.taken() == [(waits, begun["version"])]
    current = await deploys.ask("GET", "/api/v1/deployments/current")
    assert current["version"] == begun["version"]


async def test_a_finalized_deployment_is_promoted_unless_the_cli_says_otherwise(
    offline: Any,
) -> None:
    """`--skip-promotion` is the exception."""
    deploys = Deploys(offline)
    begun = await deploys.begun()
    await deploys.indexed(begun["id"])
    await deploys.finalized(begun["id"], skipPromotion=False)
    run = await deploys.trigger()
    assert await deploys.taken() == [(run, begun["version"])]


async def test_what_is_out_of_order_is_refused_in_the_real_words(offline: Any) -> None:
    """Nothing is finalized that was not indexed, nothing indexed twice, nothing ended again."""
    deploys = Deploys(offline)
    begun = await deploys.begun()
    text = await deploys.finalized(begun["id"])
    assert "Worker deployment does not have a worker" in text
    assert text.startswith("event: error\n")
    await deploys.indexed(begun["id"])
    assert "not in BUILDING status" in (await deploys.indexed(begun["id"]))["error"]
    path = f"/api/v1/deployments/{begun['id']}"
    failure = {"error": {"name": "BuildError", "message": "no disk"}}
    assert await deploys.ask("POST", f"{path}/fail", failure) == {"id": begun["id"]}
    assert "not in DEPLOYING status" in await deploys.finalized(begun["id"])
    await deploys.ask("POST", f"{path}/fail", {"error": {"name": "Late", "message": ""}})
    shown = await deploys.ask("GET", path)
    assert (shown["status"], shown["errorData"]) == ("FAILED", failure["error"])
    other = await deploys.begun()
    promoted = await deploys.ask("POST", f"/api/v1/deployments/{other['version']}/promote")
    assert "not associated with a worker" in promoted["error"]


async def test_answers_have_the_fields_that_a_real_server_gave(offline: Any) -> None:
    """A self-hosted 4.5.12 server, to which the CLI had deployed; `latest` knows nothing of it."""
    deploys = Deploys(offline)
    begun = await deploys.begun()
    assert set(begun) == {
        *("id", "contentHash", "shortCode", "version", "imageTag", "imagePlatform", "outcome"),
        *("externalBuildData", "canceledDeployments"),
    }
    await deploys.indexed(begun["id"])
    for _ in range(2):
        text = await deploys.finalized(begun["id"], skipPromotion=False)
        assert text == f'event: complete\ndata: {{"id":"{begun["id"]}"}}\n\n'
    (listed,) = (await deploys.ask("GET", "/api/v1/deployments"))["data"]
    current = await deploys.ask("GET", "/api/v1/deployments/current")
    assert set(listed) == set(current) | {"git"}
    assert set(current) == {
        *("id", "createdAt", "shortCode", "version", "runtime", "runtimeVersion", "status"),
        "deployedAt",
    }
    shown = await deploys.ask("GET", f"/api/v1/deployments/{begun['id']}")
    assert set(shown) == {
        *("id", "status", "contentHash", "shortCode", "version", "imageReference", "worker"),
        *("imagePlatform", "commitSHA", "externalBuildData", "errorData", "canceledReason"),
    }
    assert set(shown["worker"]) == {"id", "version", "tasks"}
    assert set(shown["worker"]["tasks"][0]) == {"id", "slug", "filePath", "exportName"}
    latest = await deploys.ask("GET", "/api/v1/deployments/latest")
    assert latest == {"error": "Deployment not found"}


async def test_deployments_and_who_is_current_survive_a_restart(
    served_with: Any, tmp_path: Path
) -> None:
    """An unpromoted version does not become current by being read back."""
    async with served_with(tmp_path) as server:
        deploys = Deploys(server)
        first, second = await deploys.begun(), await deploys.begun()
        for each in (first, second):
            await deploys.indexed(each["id"])
        await deploys.finalized(first["id"], skipPromotion=False)
        await deploys.finalized(second["id"])
    async with served_with(tmp_path) as server:
        deploys = Deploys(server)
        current = await deploys.ask("GET", "/api/v1/deployments/current")
        assert current["version"] == first["version"]
        assert await deploys.status(second["id"]) == "DEPLOYED"
