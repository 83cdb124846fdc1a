"""Functions that take part in a change: they note which run did what for which event."""

import datetime as dt
from collections import Counter
from typing import Any
from uuid import uuid4

import inngest

SOON = dt.timedelta(seconds=2)


class Changing:
    """A client's functions, and the notes that their steps leave: (function, event, run, step)."""

    def __init__(self, url: str) -> None:
        self.mark = uuid4().hex[:8]
        """A real server remembers the apps and the ids of the test before."""
        self.notes: list[tuple[str, str, str, str]] = []
        self.client = inngest.Inngest(
            app_id=f"changing-{self.mark}",
            is_production=False,
            api_base_url=url,
            event_api_base_url=url,
        )
        self.functions = [self._trip(), self._told(), self._talk()]

    def runs(self, function: str, event: str) -> set[str]:
        """Say which runs did anything for an event."""
        return {run for name, seen, run, _ in self.notes if (name, seen) == (function, event)}

    def done(self, function: str, event: str) -> Counter[str]:
        """Count what was done for an event, step by step."""
        return Counter(
            step for name, seen, _, step in self.notes if (name, seen) == (function, event)
        )

    def _note(self, function: str, ctx: Any, step: str) -> str:
        self.notes.append((function, str(ctx.event.id), ctx.run_id, step))
        return step

    def _trip(self) -> inngest.Function[Any]:
        @self.client.create_function(
            fn_id="trip", trigger=inngest.TriggerEvent(event="change/trip"), retries=1
        )
        async def trip(ctx: inngest.Context) -> str:
            async def do(step: str) -> str:
                return self._note("trip", ctx, step)

            await ctx.step.run("leave", do, "leave")
            await ctx.step.sleep("ride", SOON)
            return await ctx.step.run("arrive", do, "arrive")

        return trip

    def _told(self) -> inngest.Function[Any]:
        @self.client.create_function(
            fn_id="told", trigger=inngest.TriggerEvent(event="change/trip"), retries=0
        )
        def told(ctx: inngest.ContextSync) -> str:
            return ctx.step.run("tell", lambda: self._note("told", ctx, "tell"))

        return told

    def _talk(self) -> inngest.Function[Any]:
        @self.client.create_function(
            fn_id="talk",
            trigger=inngest.TriggerEvent(event="change/talk"),
            retries=0,
            cancel=[inngest.Cancel(event="change/hush", if_exp="event.data.n == async.data.n")],
        )
        async def talk(ctx: inngest.Context) -> str:
            async def do(step: str) -> str:
                return self._note("talk", ctx, step)

            await ctx.step.run("ask", do, "ask")
            answer = await ctx.step.wait_for_event(
                "answer",
                event="change/answer",
                if_exp="event.data.n == async.data.n",
                timeout=dt.timedelta(minutes=5),
            )
            return await ctx.step.run("end", do, "nothing" if answer is None else "heard")

        return talk
