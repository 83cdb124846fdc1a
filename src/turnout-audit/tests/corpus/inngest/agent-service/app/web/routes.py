import os

import httpx
from fastapi import APIRouter, Request

router = APIRouter()


@router.put("/api/inngest")
async def sync(request: Request):
    return {"ok": True}


@router.post("/inngest")
async def step(request: Request):
    if os.environ.get("INNGEST_DEV"):
        return {"dev": True}
    async with httpx.AsyncClient() as http:
        await http.post("https://inn.gs/e/" + os.environ["INNGEST_EVENT_KEY"], json={})
    return {"ok": True}


@router.get("/docs/inngesting")
async def page():
    return {"title": "How we stopped using Inngest"}


SKIP_AUTH = ["/healthz", "/api/inngest", "/metrics"]
