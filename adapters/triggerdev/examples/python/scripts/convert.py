"""Converts temperatures: one argument of JSON in, one line of JSON last."""

import json
import os
import sys

SECRETS = ("TRIGGER_SECRET_KEY", "TRIGGER_ACCESS_TOKEN", "TURNOUT_SIGNING_KEYS")
COLDEST = -273.15


def fahrenheit(celsius: float) -> float:
    """Convert one; below the coldest there is nothing."""
    if celsius < COLDEST:
        raise ValueError(f"{celsius} is colder than possible")
    return round(celsius * 9 / 5 + 32, 2)


def main(argument: str) -> None:
    """Convert all, and say which secrets are within reach."""
    found = [fahrenheit(each) for each in json.loads(argument)["celsius"]]
    secrets = [name for name in SECRETS if os.environ.get(name)]
    sys.stdout.write("a library may print what it likes\n")
    sys.stdout.write(json.dumps({"fahrenheit": found, "secrets": secrets}) + "\n")


main(sys.argv[1])
