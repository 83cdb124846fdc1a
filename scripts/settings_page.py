"""The settings page: every name that is read, from where it is read.

Names and defaults come from the code; the meanings are here. A name without a meaning, or a
meaning without a name, is an error, so the page cannot drift.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from turnout.service.settings import Settings

PAGE = Path("migration_docs/settings.md")
NAME = re.compile(r'"((?:AWS|TURNOUT|ORCHESTRATOR)_[A-Z0-9_]+)"')

OURS = {
    "ORCHESTRATOR_PROVIDER": "where new runs go: an installed adapter's name, or `dual`. A name is"
    " absolute: routes are not looked at, so setting it back is the rollback. Unset: `local`, and"
    " refused in production",
    "ORCHESTRATOR_PRIMARY": "in `dual`: whose result counts, for tasks without a route",
    "ORCHESTRATOR_SHADOW": "in `dual`: who runs shadows; may be left out where only one other"
    " vendor is installed",
    "TURNOUT_APP": "the app, as `module:attribute`; commands take `--app` instead",
    "TURNOUT_ENV": "`development` or `production`; production refuses defaults for a laptop",
    "TURNOUT_DATABASE_URL": "the run store: `sqlite:///path`, `sqlite://` (in memory) or"
    " `postgresql://user@host/database` (extra `postgres`). **secret**",
    "TURNOUT_SHADOW_DATABASE_URL": "the shadows' run store. Default: a file beside the primary's"
    " (`…-shadow.db`), or the schema `turnout_shadow`. **secret**",
    "TURNOUT_ARTIFACTS": "where artifacts go: a folder, `s3://bucket/prefix` (extra `s3` or"
    " `obstore`), or `none`",
    "TURNOUT_SIGNING_KEYS": "keys of the step protocol, `whsec_` and 24 to 64 bytes in base64,"
    " separated by commas: any of them is accepted, so keys rotate without loss. **secret**",
    "TURNOUT_DEFINITIONS": "definitions (sha256) of earlier versions, separated by commas: their"
    " vendors' workers are served too, until the new ones have taken over",
    "TURNOUT_SERVICE_URL": "where providers reach this service, like `https://agents.example.org`",
    "TURNOUT_VENDOR_DATA": "`inline`: vendors are told small results, errors' messages and"
    " progress, for their dashboards; `reference`: ids, digests, states, errors' names and"
    " times only. Payloads and step outputs never go to a vendor, whatever their size",
    "TURNOUT_EVENTS_TOKEN": "opens `GET /turnout/runs/{run_id}/events` of this service for readers"
    " who send it as a bearer token; at least 16 characters. It reads every run: it is for backends"
    " and operators, never for a browser. Default: shut. **secret**",
    "TURNOUT_LEASE": "for how long a claimed step stands without a sign of life from its worker;"
    " at least 1 s",
    "TURNOUT_SILENCE": "for how long a vendor run that its provider calls running, and that should"
    " call, may be silent before the run is delivered again; at least 1 s",
    "TURNOUT_DUAL_LAG": "how long after its primary's emit a shadow starts",
    "TURNOUT_DUAL_LONGEST_WAIT": "longer sleeps and waits of a shadow are cut to this",
}

STORES = {
    "TURNOUT_ARTIFACTS_CLIENT": "`boto3` or `obstore`; else obstore where it is installed",
    "AWS_ENDPOINT_URL": "of another S3-compatible server, like MinIO",
    "AWS_ENDPOINT_URL_S3": "the same, for S3 alone; it wins",
    "AWS_ACCESS_KEY_ID": "with the next one, or neither: then what the machine's role gives",
    "AWS_SECRET_ACCESS_KEY": "**secret**",
    "AWS_SESSION_TOKEN": "of temporary credentials. **secret**",
    "AWS_REGION": "else `AWS_DEFAULT_REGION`, else `us-east-1`",
    "AWS_DEFAULT_REGION": "see above",
}

VENDORS = {
    "inngest": {
        "INNGEST_DEV": "`1`, or the URL of a dev server: nothing is signed",
        "INNGEST_BASE_URL": "of a server of your own: API and events",
        "INNGEST_API_BASE_URL": "the API alone",
        "INNGEST_EVENT_API_BASE_URL": "the events alone",
        "INNGEST_EVENT_KEY": "needed without `INNGEST_DEV`. **secret**",
        "INNGEST_SIGNING_KEY": "needed without `INNGEST_DEV`; hex, after `signkey-…-` if any."
        " **secret**",
        "INNGEST_SIGNING_KEY_FALLBACK": "accepted beside it while keys rotate. **secret**",
        "INNGEST_ENV": "a branch environment",
        "TURNOUT_INNGEST_TRANSPORT": "`serve` (default): the server calls this service over HTTP;"
        " `connect`: this service holds a socket to the server and needs no address (extra"
        " `connect`)",
        "TURNOUT_INNGEST_GATEWAY": "with `connect`: where the gateway is seen from here, like"
        " `wss://inngest.example.org:8289/v0/connect`, if not where the server says",
        "TURNOUT_INNGEST_INGRESS": "events that others send to the server and that are emitted"
        " here: names, separated by commas, or `subscribed` for all that tasks start or are"
        " cancelled by. Default: none",
        "TURNOUT_INNGEST_EVENT_KEYS": "opens `POST /e/{key}` of this service for senders of Inngest"
        " events, with these keys, separated by commas. Default: shut. **secret**",
        "TURNOUT_INNGEST_REPLACE": "`1`: register even where that removes another deployable's"
        " functions under this app's name",
    },
    "triggerdev": {
        "TRIGGER_API_URL": "default: the vendor's cloud",
        "TRIGGER_SECRET_KEY": "needed; it names its environment. **secret**",
        "TRIGGER_PROJECT_REF": "with the next one: to read back which tasks are deployed",
        "TRIGGER_ACCESS_TOKEN": "a personal access token, `tr_pat_…`. **secret**",
        "TRIGGER_ENVIRONMENT": "`dev`, `stg` (or `staging`), `prod` or `preview`, where the key"
        " does not say",
        "TRIGGER_PREVIEW_BRANCH": "a preview branch",
        "TRIGGER_ALERT_WEBHOOK_SECRET": "of the alert channel that posts to"
        " `/turnout/triggerdev/alerts`; two, separated by commas, while it is changed. Default: no"
        " alerts are taken. **secret**",
        "TURNOUT_TRIGGER_WORKER": "the folder of the TypeScript worker's source; default:"
        " `trigger-worker`",
    },
}
PREFIXES = {"inngest": "INNGEST", "triggerdev": "TRIGGER"}

HEAD = """\
# Settings

This page is generated by `scripts/settings` from `src/turnout/service/settings.py` and the
adapters' own settings; do not edit it.

The environment wins over `.env`, which wins over `turnout.toml` (both in the working directory; the
same names in all three). An empty value counts as unset. Wrong settings are reported by name, all
at once, with exit code 2; secrets are never shown. Durations: `250ms`, `5s`, `15m`, `2h`, `1d`.
"""


def main(arguments: Sequence[str]) -> int:
    """Write the page, or check it; 1 when it is out of date."""
    faults = [*drift()]
    text = page()
    if "--check" in arguments and (not PAGE.is_file() or PAGE.read_text() != text):
        faults.append(f"{PAGE} is stale; run scripts/settings")
    if faults or "--check" in arguments:
        print("\n".join(faults) or "up to date")
        return 1 if faults else 0
    PAGE.write_text(text)
    print(f"wrote {PAGE}")
    return 0


def drift() -> Iterable[str]:
    """Name what is read and not described, or described and not read."""
    found = {str(each.alias) for each in Settings.model_fields.values() if each.alias}
    yield from _compared("src/turnout/service/settings.py", found, OURS)
    stores = Path("src/turnout/stores/artifacts")
    text = "".join(path.read_text() for path in sorted(stores.glob("*.py")))
    yield from _compared(str(stores), set(NAME.findall(text)) - set(OURS), STORES)
    for vendor, described in VENDORS.items():
        path = Path(f"adapters/{vendor}/src/turnout_{vendor}/settings.py")
        if path.is_file():
            names = re.findall(rf'"((?:TURNOUT_)?{PREFIXES[vendor]}_[A-Z_]+)"', path.read_text())
            yield from _compared(str(path), set(names), described)


def _compared(where: str, read: set[str], described: Iterable[str]) -> Iterable[str]:
    for each in sorted(read ^ set(described)):
        yield f"{where}: {each} is {'not described' if each in read else 'no longer read'}"


def page() -> str:
    """Make the page's text."""
    fields = {str(each.alias): each for each in Settings.model_fields.values() if each.alias}
    rows = [f"| `{name}` | {_default(fields[name])} | {told} |" for name, told in OURS.items()]
    parts = [HEAD, "## Turnout's own", "", "| name | default | meaning |", "|---|---|---|", *rows]
    parts += ["", "## Artifacts in a bucket", "", *_table(STORES)]
    for vendor, described in VENDORS.items():
        parts += ["", f"## The adapter `{vendor}`", "", *_table(described)]
    return "\n".join(parts) + "\n"


def _table(described: dict[str, str]) -> list[str]:
    rows = [f"| `{name}` | {told} |" for name, told in described.items()]
    return ["| name | meaning |", "|---|---|", *rows]


def _default(field: FieldInfo) -> str:
    given = field.default
    if isinstance(given, SecretStr):
        given = given.get_secret_value()
    if given is None or given == ():
        return "none"
    return f"`{given // 1_000}s`" if isinstance(given, int) else f"`{given}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
