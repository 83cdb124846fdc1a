"""Dead letters: events that were refused at a door, kept until somebody emits them again."""

import hashlib
import logging
from collections.abc import Sequence

from turnout.control.emissions import LARGEST_PAYLOAD, as_json, labels_of
from turnout.control.emitter import Emitter
from turnout.errors import InvalidJson, InvalidPayload, WrongUse
from turnout.model.canonical import canonical_bytes, parse
from turnout.model.events import DeadLetter, Emitted, Event
from turnout.model.ids import new_run_id
from turnout.model.labels import NO_LABELS, Labels
from turnout.model.status import RunOrigin
from turnout.model.text import storable
from turnout.model.time import as_datetime, moment
from turnout.ports.clock import Clock
from turnout.ports.run_store import DeadLetterStore

log = logging.getLogger(__name__)


class DeadLetters:
    """Takes events at a door; keeps those that are refused, because their sender may not."""

    def __init__(self, *, letters: DeadLetterStore, emitter: Emitter, clock: Clock) -> None:
        self._letters = letters
        self._emitter = emitter
        self._clock = clock

    async def receive(self, events: Sequence[Event]) -> Sequence[Emitted]:
        """Record events as `Emits.emit` does; where they are refused, keep them and raise."""
        try:
            return await self._emitter.emit(*events)
        except WrongUse:
            for event in events:
                await self._keep(event)
            raise

    async def emit(self, letter: DeadLetter) -> Emitted:
        """Emit a letter's event again; it is a letter no more. WrongUse: it is refused again."""
        event = Event(
            name=letter.name,
            payload=parse(letter.payload),
            key=letter.key or f"dead-letter:{letter.letter_id}",
            at=None if letter.due_at is None else as_datetime(letter.due_at),
            tags=letter.labels.tags,
            user_id=letter.labels.user_id,
            metadata=parse(letter.labels.metadata or b"null"),
            origin=RunOrigin.REDELIVERY,
        )
        (emitted,) = await self._emitter.emit(event)
        await self._letters.settle(letter.letter_id, emitted.event_id)
        return emitted

    async def _keep(self, event: Event) -> None:
        now = self._clock.now()
        error = self._fault(event)
        extra = {"action": "dead_letter", "event": storable(event.name[:200]), "error": error}
        try:
            payload = canonical_bytes(as_json(event.payload, event.name))
        except (InvalidJson, InvalidPayload):
            log.warning("an event was refused at a door, and cannot be kept", extra=extra)
            return
        if len(payload) > LARGEST_PAYLOAD:
            log.warning("an event was refused at a door, and is too large to be kept", extra=extra)
            return
        letter = DeadLetter(
            letter_id=_letter_id(event) or new_run_id(now),
            name=storable(event.name),
            payload=payload,
            key=None if event.key is None else storable(event.key),
            due_at=None if event.at is None else moment(event.at),
            error=error,
            refused_at=now,
            labels=_good_labels(event),
        )
        await self._letters.put(letter)
        log.warning(
            "an event was refused at a door; it is kept as a dead letter",
            extra={**extra, "letter_id": letter.letter_id},
        )

    def _fault(self, event: Event) -> str:
        try:
            self._emitter.emissions.of_event(event, self._clock.now())
        except WrongUse as error:
            return storable(f"{error.code}: {error}")
        return "refused together with another event of its request"


def _good_labels(event: Event) -> Labels:
    """Read an event's labels; none where they are why it was refused: it may go without."""
    try:
        return labels_of(event)
    except WrongUse:
        return NO_LABELS


def _letter_id(event: Event) -> str | None:
    """Derive an id from the event's key, so that a request that is sent again is one letter."""
    if event.key is None:
        return None
    seed = f"{event.name}\0{event.key}".encode(errors="replace")
    return hashlib.sha256(seed).hexdigest()[:32]
