"""The vendor's settings, by the vendor's names.

TRIGGER_API_URL and TRIGGER_SECRET_KEY; with TRIGGER_PROJECT_REF and TRIGGER_ACCESS_TOKEN the
adapter can also read which tasks the current version has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from turnout.errors import InvalidDefinition, InvalidSettings, LaptopSetting
from turnout.model.time import Millis, millis

CLOUD: Final = "https://api.trigger.dev"
ALERT_SECRETS: Final = "TRIGGER_ALERT_WEBHOOK_SECRET"
WORKER: Final = "TURNOUT_TRIGGER_WORKER"
RELEASE_AFTER: Final = "TURNOUT_TRIGGER_RELEASE_AFTER"
NEVER: Final = "never"
DEFAULT_RELEASE: Final[Millis] = 10_000
WORKER_FOLDER: Final = "trigger-worker"
"""The folder of the worker's source in a repository, unless the setting WORKER names another."""
SLUGS: Final = ("dev", "stg", "prod", "preview")
BRANCHED: Final = ("dev", "preview")
"""Environments that may have branches; a preview environment always has one."""
NAMES: Final = {"stg": "staging"}
"""Slug → name of an environment, where some paths of the API use another word."""
SLUG_OF_NAME: Final = {name: slug for slug, name in NAMES.items()}


@dataclass(frozen=True, kw_only=True)
class TriggerdevSettings:
    """Where the server is, and how we authenticate; secrets are not in the `repr`."""

    api_url: str
    secret_key: str = field(repr=False)
    project_ref: str | None = None
    access_token: str | None = field(default=None, repr=False)
    environment: str = "dev"
    """The environment's slug: dev, stg, prod or preview."""
    branch: str | None = None
    """The branch of a preview or dev environment."""

    @property
    def environment_name(self) -> str:
        """The environment's name in the paths of a project's workers."""
        return NAMES.get(self.environment, self.environment)

    @property
    def scope(self) -> str:
        """The environment and its branch, unique in the project."""
        return f"{self.environment}/{self.branch}" if self.branch else self.environment


def read_settings(settings: Mapping[str, str], *, deployed: bool = False) -> TriggerdevSettings:
    """Read the settings; InvalidSettings names every fault at once.

    deployed: the development environment, which is also the default, is a LaptopSetting.
    """
    faults = []
    secret = settings.get("TRIGGER_SECRET_KEY", "")
    if not secret:
        faults.append(
            "TRIGGER_SECRET_KEY is not set: give it the secret key of an environment"
            " (and, for a server of your own, set TRIGGER_API_URL)"
        )
    url = settings.get("TRIGGER_API_URL", CLOUD).rstrip("/")
    faults += _faults_of_url(url)
    token = settings.get("TRIGGER_ACCESS_TOKEN") or None
    if token is not None and not token.startswith("tr_pat_"):
        faults.append("TRIGGER_ACCESS_TOKEN is not a personal access token: it starts with tr_pat_")
    slug = _slug(settings)
    if slug not in SLUGS:
        faults.append(f"TRIGGER_ENVIRONMENT is not one of {', '.join(SLUGS)}")
    try:
        release_after(settings)
    except InvalidSettings as error:
        faults.append(str(error))
    branch = settings.get("TRIGGER_PREVIEW_BRANCH") or None
    faults += _faults_of_branch(slug, branch)
    laptop = deployed and bool(secret) and slug == "dev"
    if laptop:
        faults.append(
            "TRIGGER_ENVIRONMENT and TRIGGER_SECRET_KEY name the vendor's development environment,"
            " which runs tasks only while its dev command runs, and TURNOUT_ENV is not development;"
            " give the key of another environment"
        )
    if faults:
        raise (LaptopSetting if laptop else InvalidSettings)("triggerdev: " + "; ".join(faults))
    return TriggerdevSettings(
        api_url=url,
        secret_key=secret,
        project_ref=settings.get("TRIGGER_PROJECT_REF") or None,
        access_token=token,
        environment=slug,
        branch=branch,
    )


def release_after(settings: Mapping[str, str]) -> Millis | None:
    """How long a vendor run may wait until its run is released; None: for ever.

    The cloud takes a checkpoint of a deployed run that waits, and frees its slot; a run in `dev`,
    and on a server of one's own, keeps it. InvalidSettings.
    """
    text = settings.get(RELEASE_AFTER, "")
    if text == NEVER:
        return None
    if text:
        try:
            return millis(text)
        except InvalidDefinition as error:
            raise InvalidSettings(f"{RELEASE_AFTER} is neither {NEVER} nor a duration") from error
    cloud = settings.get("TRIGGER_API_URL", CLOUD).rstrip("/") == CLOUD
    return None if cloud and _slug(settings) != "dev" else DEFAULT_RELEASE


def _slug(settings: Mapping[str, str]) -> str:
    named = slug_named_by(settings.get("TRIGGER_SECRET_KEY", ""))
    slug = settings.get("TRIGGER_ENVIRONMENT") or named or "dev"
    return SLUG_OF_NAME.get(slug, slug)


def _faults_of_url(url: str) -> list[str]:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return ["TRIGGER_API_URL is not an http(s) URL"]
    if parts.username is not None or parts.query or parts.fragment:
        return ["TRIGGER_API_URL is more than an origin: it has a user, a query or a fragment"]
    return []


def _faults_of_branch(slug: str, branch: str | None) -> list[str]:
    if slug == "preview" and branch is None:
        return ["TRIGGER_PREVIEW_BRANCH is not set, and a preview environment is a branch's"]
    if branch is not None and slug in SLUGS and slug not in BRANCHED:
        return [f"TRIGGER_PREVIEW_BRANCH is set, and {slug} has no branches"]
    return []


def slug_named_by(secret: str) -> str | None:
    """Read the environment from a key such as `tr_dev_…` or `tr_prod_sk_…`; None without one."""
    _, _, tail = secret.partition("_")
    slug, separator, _ = tail.partition("_")
    return slug if separator and slug in SLUGS else None
