"""The example's language service: extracts a summary, and is now and then too busy."""

import hashlib
import os
import re
from collections import Counter

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

SENTENCES = 3
ONE_IN = 4
"""About one text in so many meets a service that is too busy at first."""


def summarise(texts: list[str]) -> str:
    """Pick the sentences whose words are the most frequent; the same for the same texts."""
    text = " ".join(texts)
    frequent = Counter(word for word in re.findall(r"\w+", text.lower()) if len(word) > SENTENCES)
    sentences = re.split(r"(?<=[.!?])\s+", text)
    ranked = sorted(sentences, key=lambda sentence: (-_weight(sentence, frequent), sentence))
    return " ".join(ranked[:SENTENCES])[:2_000]


class Busy:
    """Answers 503 to the first call for some of the texts, chosen by a seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._answered: Counter[str] = Counter()

    def turns_away(self, text: str) -> bool:
        """Whether this call is one too many; it never is twice in a row for one text."""
        digest = hashlib.sha256(f"{self._seed}{self._answered.total()}{text}".encode()).digest()
        busy = digest[0] % ONE_IN == 0 and self._answered[text] % 2 == 0
        self._answered[text] += 1
        return busy


def service(seed: str) -> Starlette:
    """Make the application."""
    busy = Busy(seed)

    async def answer(request: Request) -> JSONResponse:
        texts = (await request.json())["texts"]
        if busy.turns_away("".join(texts)):
            return JSONResponse({"error": "too busy"}, status_code=503)
        return JSONResponse({"summary": summarise(texts)})

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse({"ok": True})

    return Starlette(
        routes=[Route("/summarise", answer, methods=["POST"]), Route("/health", health)]
    )


def _weight(sentence: str, frequent: Counter[str]) -> float:
    words = re.findall(r"\w+", sentence.lower())
    return sum(frequent[word] for word in words) / (len(words) + 5)


app = service(os.environ.get("NLM_SEED", "0"))
