"""A shop called Inngest Hotels has nothing to do with the vendor."""

from dataclasses import dataclass

from app.inngest_hotels import rooms


@dataclass(frozen=True)
class Inn:
    name: str


inngest = Inn(name="Inn & Guest")


def describe() -> str:
    inngest_rooms = rooms(inngest.name)
    inngest.send = None
    return f"{inngest.name}: {inngest_rooms}"


def send(inngest: Inn) -> None:
    inngest.notify("hello")
