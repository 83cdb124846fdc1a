"""An application as it describes itself when it registers. Pure."""

import hashlib
from typing import Any

import orjson

from turnout_inngest_double.errors import InvalidFunction, RefusedBySync
from turnout_inngest_double.functions import Function, parse_function
from turnout_inngest_double.state import App

MAX_FUNCTIONS = 2_000


def read_app(body: dict[str, Any], sdk: str, now: int) -> App:
    """The application that a registration describes; RefusedBySync names all functions' faults."""
    name = body["appname"]
    raw = body.get("functions")
    if not isinstance(raw, list) or len(raw) > MAX_FUNCTIONS:
        raise RefusedBySync(f"functions is a list of at most {MAX_FUNCTIONS}")
    functions: dict[str, Function] = {}
    reasons: list[str] = []
    for item in raw:
        try:
            function = parse_function(name, item if isinstance(item, dict) else {})
            functions[function.slug] = function
        except InvalidFunction as error:
            reasons += error.reasons
        except RefusedBySync as error:
            reasons.append(str(error))
    if reasons:
        raise RefusedBySync(" * ".join([f"{len(reasons)} errors occurred:", *reasons]))
    described = {k: body.get(k) for k in ("functions", "url", "appVersion", "framework")}
    return App(
        id=name,
        created_at=now,
        url=str(body.get("url") or ""),
        version=body.get("appVersion"),
        framework=body.get("framework"),
        sdk=sdk or str(body.get("sdk") or ""),
        checksum=hashlib.sha256(orjson.dumps(described, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        functions=functions,
    )
