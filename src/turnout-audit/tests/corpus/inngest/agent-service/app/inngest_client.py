"""The one client object of the service."""

import logging
import os

import inngest
from inngest_encryption import EncryptionMiddleware

# Inngest needs both base URLs when it is hosted by ourselves.
client = inngest.Inngest(
    app_id="agents",
    is_production=os.getenv("APP_ENV") == "production",
    signing_key=os.environ["INNGEST_SIGNING_KEY"],
    event_key=os.environ.get("INNGEST_EVENT_KEY"),
    api_base_url=os.getenv("INNGEST_API_BASE_URL", "https://api.inngest.com"),
    logger=logging.getLogger("orchestrator"),
    middleware=[EncryptionMiddleware.factory(os.environ["DATA_KEY"])],
)
