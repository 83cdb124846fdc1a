"""Artifacts are written strictly, read strictly, and reduced to what parity compares."""

import json
from pathlib import Path
from typing import Any, get_args, get_origin

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError
from turnout_parity.read_artifacts import read_manifest, read_status, read_step, read_value

import turnout.model
from scripts.published_schemas import PUBLISHED, schema_text
from turnout.errors import ArtifactInvalid
from turnout.model.artifacts import (
    document_bytes,
    document_entry,
    parity_form,
    parity_sha256,
    place_value,
    value_entry,
)
from turnout.model.canonical import canonical_bytes, sha256_of
from turnout.model.documents import (
    AnyDocument,
    AttemptEntry,
    Comparison,
    ConcurrencyEntry,
    ManifestDocument,
    RecordedError,
    Source,
    StatusDocument,
    StepDocument,
    StepEntry,
    Timings,
    Transition,
)
from turnout.model.status import AttemptState, Role, RunStatus, StepKind, StepState

T0 = 1_700_000_000_123
MODELS: list[type[BaseModel]] = [StatusDocument, ManifestDocument, StepDocument]
READERS = {"status": read_status, "manifest": read_manifest, "step": read_step}


def status(run_id: str = "r1", start: int = T0, **changes: Any) -> StatusDocument:
    """A run that completed."""
    fields: dict[str, Any] = {
        "run_id": run_id,
        "task": "agent-run",
        "provider": "old",
        "provider_run_id": "01ABC",
        "provider_state": RunStatus.COMPLETED,
        "role": Role.PRIMARY,
        "shadow_mode": None,
        "not_comparable": None,
        "key": '"agent-1"',
        "state": RunStatus.COMPLETED,
        "transitions": tuple(
            Transition(state=state, at=start + 10 * number)
            for number, state in enumerate(
                [RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.COMPLETED]
            )
        ),
        "attempts": 2,
        "deliveries": 1,
        "timings": Timings(queued_ms=10, execution_ms=5, waiting_ms=0, total_ms=20, overhead_ms=15),
        "error": None,
        "result": {"ok": True},
        "result_ref": None,
        "result_sha256": place_value({"ok": True}).sha256,
        "emitted_at": start,
    }
    return StatusDocument(**{**fields, **changes})


def step(run_id: str = "r1", start: int = T0, **changes: Any) -> StepDocument:
    """A step that failed once."""
    attempts = (
        AttemptEntry(
            number=1,
            started_at=start,
            duration_ms=3,
            outcome=AttemptState.FAILED,
            error=RecordedError(name="ServerError", message="503"),
            retry_at=start + 1000,
        ),
        AttemptEntry(
            number=2,
            started_at=start + 1001,
            duration_ms=2,
            outcome=AttemptState.COMPLETED,
            error=None,
            retry_at=None,
        ),
    )
    fields: dict[str, Any] = {
        "run_id": run_id,
        "step": "load sources",
        "kind": StepKind.STEP,
        "index": 0,
        "branch": "0003.0001",
        "state": StepState.COMPLETED,
        "attempts": attempts,
        "error": None,
        "output": [1, 1.0, None],
        "output_ref": None,
        "output_sha256": place_value([1, 1.0, None]).sha256,
    }
    return StepDocument(**{**fields, **changes})


def manifest(run_id: str = "r1", start: int = T0) -> ManifestDocument:
    """What that run left."""
    return ManifestDocument(
        run_id=run_id,
        task="agent-run",
        code_version="abc",
        protocol=1,
        steps=(StepEntry(index=0, step="load sources", kind=StepKind.STEP, branch="0003.0001"),),
        unasked=("old-step",),
        documents=(
            document_entry("status.json", status(run_id, start)),
            document_entry("steps/0000-load=20sources.json", step(run_id, start)),
        ),
        concurrency=ConcurrencyEntry(key='"agent-1"', limit=1),
    )


DOCUMENTS: dict[str, AnyDocument] = {"status": status(), "manifest": manifest(), "step": step()}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_written_is_read_back(name: str) -> None:
    """Also after another tool has written it with blanks."""
    document = DOCUMENTS[name]
    raw = document_bytes(document)
    assert READERS[name](raw, run_id="r1") == document
    assert READERS[name](json.dumps(json.loads(raw), indent=4).encode()) == document
    assert canonical_bytes(json.loads(raw)) == raw


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_twin_has_the_same_parity_digest(name: str) -> None:
    """Run, provider, role, clock and durations are no part of it; a whole run has one digest."""
    other = {
        "status": status(
            "r1-dryrun",
            T0 + 99_999,
            provider="new",
            provider_run_id="run_1",
            provider_state=None,
            role=Role.SHADOW,
            shadow_mode="replay",
            deliveries=2,
            timings=Timings(queued_ms=1, execution_ms=1, waiting_ms=1, total_ms=3, overhead_ms=1),
        ),
        "manifest": manifest("r1-dryrun", T0 + 99_999),
        "step": step("r1-dryrun", T0 + 99_999),
    }[name]
    assert document_bytes(other) != document_bytes(DOCUMENTS[name])
    assert parity_sha256(other) == parity_sha256(DOCUMENTS[name])


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "other"},
        {"key": None},
        {"attempts": 3},
        {"error": RecordedError(name="E", message="")},
        {"result": None, "result_sha256": None},
        {"result": {"ok": 1}, "result_sha256": place_value({"ok": 1}).sha256},
        {"transitions": (Transition(state=RunStatus.COMPLETED, at=T0),)},
    ],
)
def test_an_exactly_compared_field_changes_the_digest(changes: dict[str, Any]) -> None:
    """`true` is not `1`, and the path of states counts, not only its end."""
    assert parity_sha256(status(**changes)) != parity_sha256(status())


def test_the_parity_form_is_the_document_without_what_is_not_exact() -> None:
    """Nested documents, too; the error and the number of an attempt stay."""
    form = parity_form(step())
    assert form["attempts"][0] == {
        "number": 1,
        "outcome": "failed",
        "error": {"name": "ServerError", "message": "503"},
    }
    assert "run_id" not in form
    assert form["schema"] == "turnout/step@1"


@pytest.mark.parametrize("model", MODELS)
def test_the_rules_and_the_parity_form_agree(model: type[BaseModel]) -> None:
    """What a rule calls exact is in the form, and nothing else."""
    name = {StatusDocument: "status", ManifestDocument: "manifest", StepDocument: "step"}[model]
    document = DOCUMENTS[name]
    rules = field_rules(model)
    exact = {p for p, rule in rules.items() if rule["x-comparison"] == Comparison.EXACT}
    kept = pointers(parity_form(document))
    assert {p for p in kept if p in rules} <= exact
    gone = pointers(json.loads(document_bytes(document))) - kept
    assert not gone & exact


def pointers(value: Any, at: str = "") -> set[str]:
    """Every place in a document, `*` for an index."""
    found = {at}
    if isinstance(value, dict):
        found |= {p for name, inner in value.items() for p in pointers(inner, f"{at}/{name}")}
    if isinstance(value, list):
        found |= {p for inner in value for p in pointers(inner, f"{at}/*")}
    return found


def field_rules(model: type[BaseModel], at: str = "") -> dict[str, Any]:
    """The rule of every leaf of a document; `*` stands for any index of a list."""
    rules: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        pointer = f"{at}/{field.alias or name}"
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if kind]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        below = f"{pointer}/*" if get_origin(field.annotation) is tuple else pointer
        rules |= field_rules(inner[0], below) if inner else {pointer: field.json_schema_extra}
    return rules


def test_rules_name_their_source() -> None:
    """What is given before the run proves nothing; what the provider says is told apart."""
    rules = field_rules(StatusDocument)
    assert rules["/task"]["x-source"] == Source.CONSTRUCTION
    assert rules["/provider_state"]["x-source"] == Source.PROVIDER
    assert rules["/transitions/*/state"]["x-source"] == Source.RECORDED
    assert rules["/transitions/*/at"]["x-comparison"] == Comparison.VOLATILE
    assert rules["/timings/overhead_ms"]["x-comparison"] == Comparison.MEASURED


FAULTS: list[tuple[str, str, Any, str, str]] = [
    ("status", "state", "done", "/state", "should be 'queued'"),
    ("status", "attempts", 1.0, "/attempts", "valid integer"),
    ("status", "attempts", True, "/attempts", "valid integer"),
    ("status", "attempts", "1", "/attempts", "valid integer"),
    ("status", "attempts", -1, "/attempts", "greater than or equal to 0"),
    ("status", "emitted_at", 1700000000, "/emitted_at", "a time like"),
    ("status", "emitted_at", "2026-01-01T00:00:00", "/emitted_at", "a time like"),
    ("status", "emitted_at", "9999-99-99T00:00:00Z", "/emitted_at", "a time like"),
    ("status", "task", None, "/task", "valid string"),
    ("status", "run_id", "../../etc", "/run_id", "should match"),
    ("status", "run_id", "a..b", "/run_id", "id of a run"),
    ("status", "run_id", "a-dryrun-dryrun", "/run_id", "id of a run"),
    ("status", "extra", 1, "/extra", "Extra inputs"),
    ("status", "transitions", [], "/transitions", "at least 1"),
    ("status", "result", {"ok": 1}, "/result_sha256", "is not the digest of result"),
    ("status", "result_sha256", None, "/result", "should be null here"),
    (
        "status",
        "transitions",
        [{"state": "running", "at": "2026-01-01T00:00:00Z"}],
        "/transitions",
        "should enter the state of the run",
    ),
    ("status", "timings", {"queued_ms": 1}, "/timings/execution_ms", r"required \(and 3 more\)"),
    ("status", "schema", "turnout/status@2", "/schema", "another version of Turnout wrote it"),
    ("status", "schema", "turnout/manifest@1", "/schema", "not 'turnout/status@1'"),
    ("status", "schema", None, "/schema", "None, not"),
    ("step", "branch", "../x y", "/branch", "should match"),
    ("step", "output", [1, 1, None], "/output_sha256", "is not the digest of output"),
    ("step", "attempts", [{}], "/attempts/0/number", "required"),
    ("step", "kind", "loop", "/kind", "should be 'step'"),
    (
        "step",
        "output_ref",
        {"path": f"values/{'0' * 64}.json", "size": 1},
        "/output",
        "should be null here",
    ),
    ("manifest", "steps", [{"index": 0}], "/steps/0/step", "required"),
    ("manifest", "documents", [{"path": "../x.json"}], "/documents/0/path", "should match"),
    ("manifest", "protocol", 1.0, "/protocol", "valid integer"),
    ("manifest", "concurrency", {"key": "a", "limit": None}, "/concurrency/limit", "integer"),
]


@pytest.mark.parametrize(("name", "field", "value", "pointer", "says"), FAULTS)
def test_a_wrong_field_is_named_by_its_pointer(
    name: str, field: str, value: Any, pointer: str, says: str
) -> None:
    """Nothing is converted, nothing unknown is taken."""
    wrong = {**json.loads(document_bytes(DOCUMENTS[name])), field: value}
    with pytest.raises(ArtifactInvalid, match=says) as caught:
        READERS[name](json.dumps(wrong).encode())
    assert caught.value.pointer == pointer
    assert pointer in str(caught.value)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_field_must_be_there(name: str) -> None:
    """Absent is not null."""
    whole = json.loads(document_bytes(DOCUMENTS[name]))
    for field in whole:
        less = {other: value for other, value in whole.items() if other != field}
        with pytest.raises(ArtifactInvalid) as caught:
            READERS[name](json.dumps(less).encode())
        assert caught.value.pointer == f"/{field}"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not JSON"),
        (b"null", "is a JSON null, not an object"),
        (b"[]", "is a JSON array, not an object"),
        (b"true", "is a JSON boolean"),
        (b"{}", "at /schema: missing"),
        (document_bytes(status())[:-1], "not JSON"),
        (document_bytes(status()) + b"{}", "not JSON"),
        (document_bytes(status()).replace(b'"task"', b'"role"'), "occurs twice"),
        (document_bytes(status()).replace(b'"attempts":2', b'"attempts":1e999'), "not JSON"),
        (b"[" * 90_000 + b"]" * 90_000, "not JSON"),
        (b"[" * 500 + b"]" * 500, "nests more than"),
        (b" " * 50_000_000, "50,000,000 bytes; at most 8,388,608"),
        (b'{"schema": "' + b"x" * 1_000_000 + b'"}', "at /schema"),
    ],
)
def test_hostile_bytes_are_refused(raw: bytes, says: str) -> None:
    """Truncated, doubled, deep, huge, foreign: an `ArtifactInvalid`, short enough to print."""
    with pytest.raises(ArtifactInvalid, match=says) as caught:
        read_status(raw)
    assert len(str(caught.value)) < 500


def test_what_a_document_holds_is_not_repeated_in_the_error() -> None:
    """A secret in a broken artifact stays there."""
    wrong = {**json.loads(document_bytes(status())), "attempts": "s3cret", "state": "s3cret"}
    with pytest.raises(ArtifactInvalid) as caught:
        read_status(json.dumps(wrong).encode())
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_document_in_another_runs_folder_is_refused() -> None:
    """A copy does not prove anything."""
    with pytest.raises(ArtifactInvalid, match="at /run_id: is of another run"):
        read_status(document_bytes(status("r2")), run_id="r1")


def test_a_document_is_frozen_and_checked_when_it_is_made() -> None:
    """What could not be read is not written."""
    with pytest.raises(ValidationError):
        status().state = RunStatus.FAILED  # type: ignore[misc]
    for changes in ({"result": {"ok": 1}}, {"attempts": "2"}, {"emitted_at": 1.5}):
        with pytest.raises(ValidationError):
            status(**changes)
    with pytest.raises(ValidationError, match="is no JSON number"):
        step(output=float("nan"))


def test_null_and_no_output_are_told_apart() -> None:
    """Only a recorded output has a digest."""
    null = step(output=None, output_sha256=place_value(None).sha256)
    none = step(output=None, output_sha256=None)
    assert parity_sha256(null) != parity_sha256(none)


def test_a_large_value_lies_beside_its_document() -> None:
    """Named by its digest, checked when it is read."""
    value = ["x" * 100_000]
    placed = place_value(value)
    assert placed.ref is not None
    assert placed.body is not None
    document = step(output=None, output_ref=placed.ref, output_sha256=placed.sha256)
    assert read_step(document_bytes(document)) == document
    assert read_value(placed.body, placed.ref) == value
    assert value_entry(placed).path == placed.ref.path == f"values/{sha256_of(placed.body)}.json"
    for wrong in (placed.body[:-1], placed.body.replace(b"x", b"y")):
        with pytest.raises(ArtifactInvalid, match="its bytes are not those of its name"):
            read_value(wrong, placed.ref)


def test_a_small_value_lies_in_its_document() -> None:
    """The bound is inclusive."""
    assert place_value("x" * 8, inline_bytes=10).body is None
    assert place_value("x" * 9, inline_bytes=10).body is not None


def test_a_manifest_lists_each_document_once_in_order() -> None:
    """Two entries for one path could tell two stories."""
    entry = document_entry("status.json", status())
    with pytest.raises(ValidationError, match="/documents: should be in order, each once"):
        ManifestDocument(
            run_id="r1",
            task="t",
            code_version="",
            protocol=1,
            steps=(),
            unasked=(),
            documents=(entry, entry),
            concurrency=None,
        )


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_schema_is_the_models(name: str) -> None:
    """`scripts/schemas` writes it; nobody edits it."""
    stored = Path(turnout.model.__path__[0], "schemas", name).read_text(encoding="utf-8")
    assert stored == schema_text(name), "run scripts/schemas"


ARTIFACTS = [name for name in PUBLISHED if not name.startswith("protocol")]


@pytest.mark.parametrize(("file", "name"), [(f, f.split("-")[0]) for f in ARTIFACTS])
def test_a_document_fits_its_published_schema(file: str, name: str) -> None:
    """So whoever has only the schema can make and check artifacts."""
    validator = jsonschema.Draft202012Validator(PUBLISHED[file]())
    validator.validate(json.loads(document_bytes(DOCUMENTS[name])))
    assert not validator.is_valid({**json.loads(document_bytes(DOCUMENTS[name])), "extra": 1})
