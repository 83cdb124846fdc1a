from fastapi import APIRouter

router = APIRouter()


@router.post("/api/trigger/webhook")
async def webhook(body: dict):
    return {"ok": True}


@router.post("/api/triggers")
async def triggers():
    return []


HELP = "https://trigger.dev/docs/webhooks"
