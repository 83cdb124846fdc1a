"""The settings pages: every name that is read, from where it is read.

Names and defaults come from the code; the meanings are here, and an adapter's in its
`settings.toml`. A name without a meaning, or a meaning without a name, is an error, so no page can
drift.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from turnout.bootstrap.settings_faults import SETTINGS
from turnout.service.settings import Settings

PAGE = Path("migration_docs/settings.md")
ANY_NAME = re.compile(r'"([A-Z]+_[A-Z_]+)"')
NAME = re.compile(r'"((?:AWS|TURNOUT|ORCHESTRATOR)_[A-Z0-9_]+)"')

OURS = {
    "ORCHESTRATOR_PROVIDER": "where new runs go: an installed adapter's name, or `dual`. A name is"
    " absolute: routes are not looked at, so setting it back is the rollback. Unset: `local`, and"
    " refused in production",
    "ORCHESTRATOR_PRIMARY": "in `dual`: whose result counts, for tasks without a route",
    "ORCHESTRATOR_SHADOW": "in `dual`: who runs shadows; may be left out where only one other"
    " vendor is installed",
    "TURNOUT_APP": "the app, as `module:attribute`; commands take `--app` instead",
    "TURNOUT_ENV": "`development`, `preview`, `staging` or `production`; all but"
    " development refuse, by name, what is meant for a laptop: no provider, and each adapter's"
    " settings for a dev server",
    "TURNOUT_DATABASE_URL": "the run store: `sqlite:///path`, `sqlite://` (in memory) or"
    " `postgresql://user@host/database` (extra `postgres`), there in the schema `turnout` unless"
    " `?schema=` names another. It belongs to the app that opens it first. **secret**",
    "TURNOUT_DATABASE_DIRECT_URL": "where `TURNOUT_DATABASE_URL` leads to a pooler: the same"
    " database past it, for what needs a session of its own, which is [signals between"
    " processes](how_soon.md). **secret**",
    "TURNOUT_SHADOW_DATABASE_URL": "the shadows' run store. Default: a file beside the primary's"
    " (`…-shadow.db`), or on PostgreSQL a schema beside"
    " the primary's (`…_shadow`). **secret**",
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

TRACKING = {
    "TURNOUT_RECONCILE": "how often a service [reconciles](reconcile.md), or `off`; else it adapts"
    " itself, from 60 s to 5 min",
}

PROMISES = """\
Steps and manifests are written once, by a conditional write (`If-None-Match`). `turnout doctor`
says which of three promises a bucket keeps:

| the bucket | the promise |
|---|---|
| knows conditional writes (Amazon S3, R2, MinIO, Ceph) | a document is written once |
| refuses them (501, 405 or 400) | a look before the write; of two at one moment the later stays |
| ignores them | of two writers the later stays |

All documents are written in each case: they come from the run's journal, and only the holder of a
run's lease writes them, so two writers are rare, and write the same. A busy object (409, 429 or
`SlowDown`) is tried again for about 5 s, then with the run's next turn. That a store is looked at
first is logged once a process, as `artifact_store_looks_first`.
[Why](decisions/0055-a-bucket-may-refuse-a-condition.md).
"""

ADAPTER_HEAD = """\
# Settings of the adapter `{}`

This page is generated by `scripts/settings` from `settings.toml`; do not edit it. Where settings
are read from: [settings](../../../migration_docs/settings.md).
"""

HEAD = """\
# Settings

This page is generated by `scripts/settings` from `src/turnout/service/settings.py`; do not edit it.
An adapter's own settings are in its folder: `docs/settings.md`.

The environment wins over `.env`, which wins over `turnout.toml` (both in the working directory; the
same names in all three). An empty value counts as unset. In `turnout.toml` a value is a text, an
integer, or a list of texts where commas would separate them. Wrong settings are reported by name,
all at once, with exit code 2; secrets are never shown. Durations: `250ms`, `5s`, `15m`, `2h`, `1d`.
"""


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or check them; 1 when one is out of date."""
    faults = [*drift()]
    checking = "--check" in arguments
    for path, text in pages():
        if not checking:
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            faults.append(f"{path} is stale; run scripts/settings")
    print("\n".join(faults) or ("up to date" if checking else "written"))
    return 1 if faults else 0


def described_by_adapters() -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Give each adapter's folder, with the meanings of its settings."""
    for path in sorted(Path("adapters").glob("*/settings.toml")):
        yield path.parent, tomllib.loads(path.read_text())


def drift() -> Iterable[str]:
    """Name what is read and not described, or described and not read, or refused as unknown."""
    for name in {**OURS, **STORES, **TRACKING}:
        if name.startswith("TURNOUT_") and name not in SETTINGS:
            yield f"src/turnout/bootstrap/settings_faults.py: {name} is refused as unknown"
    read = {str(field.alias) for field in Settings.model_fields.values() if field.alias}
    yield from _compared("src/turnout/service/settings.py", read, OURS)
    stores = Path("src/turnout-s3/turnout_s3")
    text = "".join(path.read_text() for path in sorted(stores.glob("*.py")))
    yield from _compared(str(stores), set(NAME.findall(text)) - set(OURS), STORES)
    tracking = Path("src/turnout-tracking/turnout_tracking/service.py")
    read = set(NAME.findall(tracking.read_text()))
    yield from _compared(str(tracking), read, TRACKING)
    for folder, meanings in described_by_adapters():
        for path in folder.glob("src/*/settings.py"):
            yield from _compared(str(path), set(ANY_NAME.findall(path.read_text())), meanings)


def _compared(where: str, read: set[str], described: Iterable[str]) -> Iterable[str]:
    for name in sorted(read ^ set(described)):
        yield f"{where}: {name} is {'not described' if name in read else 'no longer read'}"


def pages() -> Iterator[tuple[Path, str]]:
    """Make the text of each page."""
    yield PAGE, page()
    for folder, meanings in described_by_adapters():
        table = "\n".join(_table(meanings))
        yield folder / "docs" / "settings.md", f"{ADAPTER_HEAD.format(folder.name)}\n{table}\n"


def page() -> str:
    """Make the text of the runtime's page."""
    fields = {str(field.alias): field for field in Settings.model_fields.values() if field.alias}
    rows = [
        f"| `{name}` | {_default(fields[name])} | {meaning} |" for name, meaning in OURS.items()
    ]
    parts = [HEAD, "## Turnout's own", "", "| name | default | meaning |", "|---|---|---|", *rows]
    parts += ["", "## Artifacts in a bucket", "", *_table(STORES), "", PROMISES]
    parts += ["## Reconciliation (`turnout-tracking`)", "", *_table(TRACKING), ""]
    return "\n".join(parts)


def _table(described: Mapping[str, str]) -> list[str]:
    rows = [f"| `{name}` | {meaning} |" for name, meaning in described.items()]
    return ["| name | meaning |", "|---|---|", *rows]


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == ():
        return "none"
    return f"`{value // 1_000}s`" if isinstance(value, int) else f"`{value}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
