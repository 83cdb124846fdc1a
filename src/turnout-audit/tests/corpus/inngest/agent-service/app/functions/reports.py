from __future__ import annotations

import typing

from inngest import Event, Inngest, NonRetriableError
from inngest.fast_api import serve
from inngest.experimental import ai, mocked

if typing.TYPE_CHECKING:
    from inngest._internal import server_lib

reports = Inngest(app_id="reports")


@reports.create_function(fn_id="report", trigger=[])
async def report(ctx):
    if not ctx.event.data.get("id"):
        raise NonRetriableError("no id")
    await reports.send(Event(name="report/ready", data={}))
    reports.send_sync([Event(name="report/ready", data={})])


def mount(app) -> None:
    serve(app, reports, [report], serve_path="/api/inngest")


def lazily():
    import inngest.flask

    return inngest.flask
