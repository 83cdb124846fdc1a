from pydantic import Field
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    orchestrator: str = Field(default="inngest", alias="ORCHESTRATOR_PROVIDER")
    inngest_signing_key: str = Field(default="", alias="INNGEST_SIGNING_KEY")
    event_key: str = Field(default="", validation_alias="INNGEST_EVENT_KEY")
    brand: str = "Inngest Hotels"


def provider_class(settings: Settings) -> str:
    match settings.orchestrator:
        case "inngest":
            return "old"
        case _:
            return "new"
