"""The user, the project, whether a worker is connected, and environment variables."""

from typing import Any

from starlette.responses import Response

from turnout_triggerdev_double.server import access
from turnout_triggerdev_double.server.errors import ApiRefusal, refused
from turnout_triggerdev_double.server.ids import bare
from turnout_triggerdev_double.server.records import Environment, Variable
from turnout_triggerdev_double.server.times import iso
from turnout_triggerdev_double.server.wiring import ApiCall, answer

RUNTIME = "node-22"
SLUGS = {"staging": "stg"}
OTHER_PROJECT = (
    "Invalid project ref for this API key. Make sure you are using an API key associated with that"
    " project."
)
OTHER_SLUG = (
    "Invalid environment slug for this API key. Make sure you are using an API key associated with"
    " that environment."
)


def whoami_user(call: ApiCall) -> Response:
    """`GET /api/v2/whoami`, by a personal access token."""
    project = call.world.project
    return answer(
        {
            "userId": bare(project.id),
            "email": "local@trigger.dev",
            "dashboardUrl": project.url,
            "project": {
                "name": project.name,
                "url": f"{project.url}/projects/v3/{project.ref}",
                "orgTitle": project.organization,
            },
        }
    )


def whoami_environment(call: ApiCall) -> Response:
    """`GET /api/v1/whoami`, by an environment's key."""
    env, project = call.env, call.world.project
    moment = iso(call.world.now())
    return answer(
        {
            "id": bare(env.id),
            "slug": env.slug,
            "type": env.type,
            "apiKey": env.key,
            "organizationId": project.organization,
            "projectId": bare(project.id),
            "parentEnvironmentId": None,
            "parentEnvironment": None,
            "orgMember": None,
            "orgMemberId": None,
            "userId": None,
            "builtInEnvironmentVariableOverrides": None,
            "branchName": None,
            "archivedAt": None,
            "paused": False,
            "shortcode": f"{project.name}-{env.slug}",
            "maximumConcurrencyLimit": env.concurrency,
            "concurrencyLimitBurstFactor": 1,
            "createdAt": moment,
            "updatedAt": moment,
            "project": {
                "id": bare(project.id),
                "slug": project.name,
                "name": project.name,
                "externalRef": project.ref,
                "engine": "V2",
                "defaultRuntime": RUNTIME,
            },
            "organization": {"id": project.organization, "slug": project.organization},
        }
    )


def notifications(_: ApiCall) -> Response:
    """`GET /api/v1/platform-notifications`: there are none."""
    return answer({"notification": None})


def project_environment(call: ApiCall) -> Response:
    """`GET /api/v1/projects/{ref}/{slug}`: the environment's key, for the CLI."""
    env = environment_of_path(call)
    return answer(
        {
            "apiKey": env.key,
            "name": call.world.project.name,
            "apiUrl": call.world.project.url,
            "projectId": bare(call.world.project.id),
            "defaultRuntime": RUNTIME,
        }
    )


def environment_of_path(call: ApiCall) -> Environment:
    """The environment in the path; without a slug, the caller's.

    A key belongs to one environment and is refused at the paths of another. (The source of 4.5.12
    lets a key without a branch pass, and then uses its own environment.)
    """
    user = access.is_access_token(call.world, access.bearer(call.headers.get("authorization")))
    if str(call.params["ref"]) != call.world.project.ref:
        raise refused(404, "Project not found") if user else refused(400, OTHER_PROJECT)
    slug = call.params.get("slug")
    if slug is None:
        return call.env
    slug = SLUGS.get(str(slug), str(slug))
    if not user:
        if call.env.slug != slug:
            raise refused(400, OTHER_SLUG)
        return call.env
    for env in call.world.environments:
        if env.slug == slug:
            return env
    raise refused(404, "Environment not found")


def _environment_of_worker(call: ApiCall) -> Environment:
    """The environment in this path, which alone says `staging` where all others say `stg`."""
    names = {"stg": "staging"}
    for env in call.world.environments:
        if names.get(env.slug, env.slug) == call.params["slug"]:
            return env
    raise refused(400, "Invalid Params")


def dev_status(call: ApiCall) -> Response:
    """`GET /api/v1/projects/{ref}/dev-status`: is a worker connected."""
    environment_of_path(call)
    development = next(e for e in call.world.environments if e.type == "DEVELOPMENT")
    return answer({"isConnected": call.world.connected[development.id] > 0})


def current_worker(call: ApiCall) -> Response:
    """`GET /api/v1/projects/{ref}/{slug}/workers/{tag}`: the registered tasks."""
    env = _environment_of_worker(call)
    tag = str(call.params["tag"])
    workers = [worker for worker in call.world.workers.values() if worker.env == env.id]
    worker = call.world.current.get(env.id)
    if tag != "current":
        worker = next((worker for worker in workers if worker.version == tag), None)
    if worker is None:
        raise refused(404, "Worker not found")
    tasks = [
        {
            "id": task["id"],
            "slug": task["id"],
            "filePath": task.get("filePath", ""),
            "triggerSource": "SCHEDULED" if task.get("triggerSource") == "schedule" else "STANDARD",
            "createdAt": iso(worker.created_at),
            "queueConfig": task.get("queue"),
            "maxDurationInSeconds": task.get("maxDuration"),
            "retryConfig": task.get("retry"),
        }
        for task in worker.tasks.values()
    ]
    view: dict[str, Any] = {
        "id": worker.id,
        "version": worker.version,
        "engine": "V2",
        "sdkVersion": worker.package_version,
        "cliVersion": worker.cli_version,
        "contentHash": worker.content_hash,
        "createdAt": iso(worker.created_at),
        "tasks": tasks,
    }
    return answer({"worker": view, "urls": {"runs": f"{call.origin}/runs"}})


def cli_variables(call: ApiCall) -> Response:
    """`GET /api/v1/projects/{ref}/envvars`: what the CLI gives its task processes."""
    env = environment_of_path(call)
    view = {"TRIGGER_OTEL_EXPORTER_OTLP_ENDPOINT": f"{call.origin}/otel"}
    view |= {v.name: v.value for (owner, _), v in call.world.variables.items() if owner == env.id}
    return answer({"variables": view})


def list_variables(call: ApiCall) -> Response:
    """`GET /api/v1/projects/{ref}/envvars/{slug}`."""
    env = environment_of_path(call)
    variables = [v for (owner, _), v in call.world.variables.items() if owner == env.id]
    return answer(
        [_variable(variable) for variable in sorted(variables, key=lambda variable: variable.name)]
    )


def _variable(variable: Variable) -> dict[str, Any]:
    value = "<redacted>" if variable.secret else variable.value
    return {"name": variable.name, "value": value, "isSecret": variable.secret}


def create_variable(call: ApiCall) -> Response:
    """`POST /api/v1/projects/{ref}/envvars/{slug} {name, value}`."""
    body = call.fields()
    _put(call, body.get("name"), body)
    return answer({"success": True})


def _put(call: ApiCall, name: Any, body: dict[str, Any]) -> None:
    value = body.get("value")
    if not isinstance(name, str) or not name or not isinstance(value, str):
        raise refused(400, "Invalid request body")
    env = environment_of_path(call)
    before, secret = call.world.variables.get((env.id, name)), body.get("isSecret")
    if secret is None:
        secret = before is not None and before.secret
    variable = Variable(
        id=f"{env.id}:{name}",
        env=env.id,
        name=name,
        value=value,
        secret=bool(secret),
    )
    call.world.add(variable)
    call.world.store.put(variable)


def import_variables(call: ApiCall) -> Response:
    """`POST /api/v1/projects/{ref}/envvars/{slug}/import {variables, override?, isSecret?}`."""
    body = call.fields()
    variables = body.get("variables")
    if not isinstance(variables, dict):
        raise refused(400, "Invalid request body")
    env = environment_of_path(call)
    existing = [name for name in variables if (env.id, name) in call.world.variables]
    if existing and not body.get("override"):
        raise _already_set(existing)
    for name, value in variables.items():
        _put(call, name, {"value": value, "isSecret": body.get("isSecret")})
    return answer({"success": True})


def _already_set(names: list[str]) -> ApiRefusal:
    problem = "Some of the variables are already set for these environments."
    errors = [{"key": name, "error": "Variable already set."} for name in names]
    body = {"error": f"{problem} Set override to true to override them.", "variableErrors": errors}
    return ApiRefusal(400, body)


def _existing_variable(call: ApiCall) -> Variable:
    env = environment_of_path(call)
    variable = call.world.variables.get((env.id, str(call.params["name"])))
    if variable is None:
        raise refused(404, "Environment variable not found")
    return variable


def retrieve_variable(call: ApiCall) -> Response:
    """`GET /api/v1/projects/{ref}/envvars/{slug}/{name}`."""
    return answer(_variable(_existing_variable(call)))


def update_variable(call: ApiCall) -> Response:
    """`PUT /api/v1/projects/{ref}/envvars/{slug}/{name} {value}`."""
    _put(call, _existing_variable(call).name, {"value": call.fields().get("value")})
    return answer({"success": True})


def delete_variable(call: ApiCall) -> Response:
    """`DELETE /api/v1/projects/{ref}/envvars/{slug}/{name}`."""
    variable = _existing_variable(call)
    del call.world.variables[(variable.env, variable.name)]
    call.world.store.drop(variable)
    return answer({"success": True})
