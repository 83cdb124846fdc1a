"""The example's tasks: an agent reads documents, asks a language service, keeps its result.

Nothing here knows which provider calls.
"""

import os
import re
import time
import uuid
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import BaseModel, Field

from turnout import App, Concurrency, Context, Retries, Schedule, Timeouts, task

DATA = Path(__file__).parent / "data"
LONGEST_DOCUMENT = 200_000

Mode = Literal["plain", "sleep", "approval", "parallel", "child"]


class AgentRequest(BaseModel):
    """What an agent is asked: which notebook to read, and how."""

    agent_id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    notebook: str = Field(default="field-notes", pattern=r"^[A-Za-z0-9_-]+$", max_length=64)
    mode: Mode = "plain"


class NotebookSource(BaseModel):
    """A document as the agent reads it."""

    name: str
    words: int
    text: str


class AgentReport(BaseModel):
    """What an agent leaves behind."""

    agent_id: str
    sources: list[str]
    words: int
    summary: str


@task(
    "agent-run",
    on="agent/run.requested",
    retries=Retries(max_attempts=8, min_delay="300ms", max_delay="5s", factor=2),
    concurrency=Concurrency(limit=1, key="payload.agent_id"),
    timeouts=Timeouts(run="15m", step="1m"),
)
async def agent_run(ctx: Context, request: AgentRequest) -> AgentReport:
    """Read a notebook, summarise it, store the report."""
    sources = await ctx.step("load-sources", load_sources, request.notebook)
    if request.mode == "sleep":
        await ctx.sleep("settle", "700ms")
    if request.mode == "approval":
        await ctx.wait_for_event(
            "agent/approved", match="payload.agent_id", timeout="5s", since="run"
        )
    if request.mode == "parallel":
        await ctx.parallel(
            *(
                ctx.step(f"count-{index}", count_words, source.text)
                for index, source in enumerate(sources)
            )
        )
    if request.mode == "child":
        await ctx.invoke("index-notebook", {"notebook": request.notebook})
    summary = await ctx.step("summarise", summarise, [source.text for source in sources])
    return await ctx.step("store", store, request.agent_id, sources, summary)


class Notebook(BaseModel):
    """A notebook by name."""

    notebook: str


@task("index-notebook", on="notebook/index.requested", timeouts=Timeouts(run="5m"))
async def index_notebook(ctx: Context, notebook: Notebook) -> dict[str, int]:
    """Count the words of each document of a notebook."""
    sources = await ctx.step("read", load_sources, notebook.notebook)
    return {source.name: source.words for source in sources}


@task("daily-report", timeouts=Timeouts(run="5m"))
async def daily_report(ctx: Context, _payload: dict[str, Any]) -> dict[str, int]:
    """Say how many documents each notebook has."""
    return await ctx.step("count-documents", count_documents)


@task("stamp", on="stamp/requested", shadow="execute")
async def stamp(ctx: Context, _payload: dict[str, Any]) -> dict[str, str]:
    """Give out a clock time and a random id: noise, which no dual run can match."""
    return await ctx.step("stamp", new_stamp)


def load_sources(notebook: str) -> list[NotebookSource]:
    """Read a notebook's documents: bundled notes, or the Markdown of the working folder."""
    return [_read(path) for path in _documents(notebook)]


def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(re.findall(r"\w+", text))


async def summarise(texts: list[str]) -> str:
    """Ask the language service; it is now and then too busy, and then this step is retried."""
    async with httpx.AsyncClient(base_url=os.environ["NLM_URL"], timeout=20) as client:
        answer = await client.post("/summarise", json={"texts": [text[:4_000] for text in texts]})
        answer.raise_for_status()
        return str(answer.json()["summary"])


def store(agent_id: str, sources: list[NotebookSource], summary: str) -> AgentReport:
    """Keep the report as a file; the same report again is the same file."""
    report = AgentReport(
        agent_id=agent_id,
        sources=[source.name for source in sources],
        words=sum(source.words for source in sources),
        summary=summary,
    )
    folder = Path(os.environ.get("RESULTS", ".turnout/results"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{agent_id}.json").write_text(report.model_dump_json())
    time.sleep(float(os.environ.get("STORE_SECONDS", "0")))
    return report


def count_documents() -> dict[str, int]:
    """Count the documents of every notebook."""
    return {
        notebook.name: len(_documents(notebook.name))
        for notebook in sorted(DATA.iterdir())
        if notebook.is_dir()
    }


def new_stamp() -> dict[str, str]:
    """Make something that is different every time."""
    return {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "id": str(uuid.uuid4())}


def _documents(notebook: str) -> list[Path]:
    folder = Path(os.environ.get("DOCUMENTS", ".")) if notebook == "repository" else DATA / notebook
    paths = sorted(folder.glob("*.md")) + sorted(folder.glob("migration_docs/*.md"))
    return [path for path in paths if path.is_file()][:8]


def _read(path: Path) -> NotebookSource:
    text = path.read_text(encoding="utf-8", errors="replace")[:LONGEST_DOCUMENT]
    return NotebookSource(name=path.name, words=count_words(text), text=text[:4_000])


agents = App(
    name="agents",
    tasks=(agent_run, index_notebook, daily_report, stamp),
    schedules=(
        Schedule(
            id="daily-report",
            task="daily-report",
            cron=os.environ.get("DAILY_REPORT_CRON", "0 6 * * *"),
            zone="Europe/Kyiv",
        ),
    ),
)
