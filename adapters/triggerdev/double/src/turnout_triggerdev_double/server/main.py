"""Starts the server: its settings, its world, its port."""

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import uvicorn

from turnout_triggerdev_double.server.app import build
from turnout_triggerdev_double.server.clock import OffsetClock, ServerClock
from turnout_triggerdev_double.server.rates import TokenBuckets, rate
from turnout_triggerdev_double.server.records import Environment
from turnout_triggerdev_double.server.store import RecordStore
from turnout_triggerdev_double.server.world import OfflineWorld, Project

PROJECT_REF = "proj_turnoutoffline00000"
ACCESS_TOKEN = "tr_pat_" + "offline".ljust(40, "0")
KEYS = {"dev": "tr_dev_offline", "stg": "tr_stg_offline", "prod": "tr_prod_offline"}
TYPES = {"dev": "DEVELOPMENT", "stg": "STAGING", "prod": "PRODUCTION"}
PORT = 3040
CONCURRENCY = 25
"""The vendor's default for `dev`: runs that a worker has at once, waiting ones included."""
LABEL = "double, not production"


def new_world(
    *,
    url: str,
    data: Path | None = None,
    clock: ServerClock | None = None,
    keys: Mapping[str, str] = KEYS,
    concurrency: int = CONCURRENCY,
) -> OfflineWorld:
    """Make a world that is kept in this folder, or in memory; its ids are always the same."""
    project = Project(
        id=_fixed_id("project"),
        ref=PROJECT_REF,
        name="offline",
        organization=_fixed_id("org").partition("_")[2],
        user="Local",
        access_token=ACCESS_TOKEN,
        url=url,
    )
    environments = tuple(
        Environment(
            id=_fixed_id("env", slug),
            slug=slug,
            type=TYPES[slug],
            key=key,
            project=project.id,
            concurrency=concurrency,
        )
        for slug, key in keys.items()
    )
    store = RecordStore(data)
    return OfflineWorld(
        clock=clock or OffsetClock(), store=store, project=project, environments=environments
    )


def _fixed_id(prefix: str, name: str = "") -> str:
    digest = hashlib.sha256(f"{prefix}:{name}".encode()).hexdigest()
    return f"{prefix}_c{digest[:24]}"


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="turnout_triggerdev_double.server",
        description=f"An offline Trigger.dev server: a {LABEL}.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--data", type=Path, help="the folder that keeps the state; else memory")
    parser.add_argument("--secret-key", default=KEYS["dev"], help="of the dev environment")
    parser.add_argument(
        "--concurrency", type=int, default=CONCURRENCY, help="executing runs at once"
    )
    parser.add_argument(
        "--rate-limit", type=rate, default="off", help="off, real, or size/refill/seconds"
    )
    parser.add_argument(
        "--turnable-clock", action="store_true", help="let POST /double/clock turn the clock"
    )
    return parser


def world_of(options: argparse.Namespace) -> OfflineWorld:
    """The world that the command line asks for."""
    return new_world(
        url=f"http://{options.host}:{options.port}",
        data=options.data,
        keys=KEYS | {"dev": options.secret_key},
        concurrency=options.concurrency,
    )


def main(argv: list[str] | None = None) -> None:
    """Serve until stopped."""
    options = arguments().parse_args(argv)
    world = world_of(options)
    app = build(world, TokenBuckets(options.rate_limit), turnable=options.turnable_clock)
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        lifespan="on",
        timeout_keep_alive=75,
    )
    _StoppingServer(config, world).run()


class _StoppingServer(uvicorn.Server):
    """Ends open streams and polls as soon as it receives a signal to stop."""

    def __init__(self, config: uvicorn.Config, world: OfflineWorld) -> None:
        super().__init__(config)
        self._world = world

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._world.stop()
        super().handle_exit(sig, frame)
