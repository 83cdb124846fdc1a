"""Asks a language model on behalf of a step, so that the application need not wait for it."""

from typing import Any

import orjson

from turnout_inngest_double.http_client import ApplicationClient, NoAnswer

TIMEOUT_S = 600.0
_FIRST_ERROR = 400


async def infer(http: ApplicationClient, options: dict[str, Any]) -> dict[str, Any]:
    """`{"data": the reply's body}`, or `{"error": …}` as a step remembers it."""
    url = str(options.get("url"))
    try:
        reply = await http.send(
            "POST", url, _headers(options), orjson.dumps(options.get("body")), TIMEOUT_S
        )
        body = orjson.loads(reply.body)
    except NoAnswer as error:
        return _error(str(error))
    except orjson.JSONDecodeError:
        return _error(f"the model answered HTTP {reply.status} without JSON")
    if reply.status >= _FIRST_ERROR:
        return _error(f"the model answered HTTP {reply.status}: {reply.body[:500].decode()}")
    return {"data": body}


def _headers(options: dict[str, Any]) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    key = options.get("auth_key") or ""
    match options.get("format"):
        case "anthropic":
            headers |= {"X-Api-Key": key, "Anthropic-Version": "2023-06-01"}
        case "gemini":
            headers["X-Goog-Api-Key"] = key
        case _:
            headers["Authorization"] = f"Bearer {key}"
    declared = {
        str(name).title(): str(value) for name, value in (options.get("headers") or {}).items()
    }
    return headers | declared


def _error(message: str) -> dict[str, Any]:
    return {"error": {"name": "AIGatewayError", "message": message}}
