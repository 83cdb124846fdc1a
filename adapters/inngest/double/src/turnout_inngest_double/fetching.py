"""Makes an HTTP request on behalf of a step, so that the application need not wait for it."""

from typing import Any

from turnout_inngest_double.http_client import ApplicationClient, NoAnswer

TIMEOUT_S = 600.0


async def fetch(http: ApplicationClient, options: dict[str, Any]) -> dict[str, Any]:
    """`{"data": the answer}`, or `{"error": …}` as a step remembers it.

    The answer has `url`, `status_code`, `headers` and the text `body`, whatever its status is.
    """
    url = str(options.get("url"))
    headers = {str(name): str(value) for name, value in (options.get("headers") or {}).items()}
    body = str(options.get("body") or "").encode()
    method = str(options.get("method") or "GET").upper()
    try:
        reply = await http.send(method, url, headers, body, TIMEOUT_S)
    except NoAnswer as error:
        message = f"Error making gateway request: {error}"
        return {"error": {"name": "GatewayError", "message": message}}
    text = reply.body.decode("utf-8", "replace")
    heads = {str(name): str(value) for name, value in reply.headers.items()}
    return {"data": {"url": url, "status_code": reply.status, "headers": heads, "body": text}}
