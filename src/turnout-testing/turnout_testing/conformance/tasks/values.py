"""What the suite's tasks take, give and are tried again by."""

from typing import Any

from pydantic import BaseModel

from turnout.model.policies import Retries

Payload = dict[str, Any]
QUICK = Retries(max_attempts=3, min_delay="1s", max_delay="10s", factor=2)
ONCE = Retries(max_attempts=1)


class Order(BaseModel):
    """A payload with a model of its own."""

    id: str
    amount: int


class Line(BaseModel):
    """A step's output with a model of its own."""

    text: str
    amount: int
