"""The live objects of one process: stores, callers, worker, pump, orchestrator."""

import asyncio
import contextlib
import importlib
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from turnout import __version__
from turnout.bootstrap.adapters import EMBEDDED, installed, load, select
from turnout.bootstrap.routes import RouteBoard
from turnout.bootstrap.settings import Settings, read_settings
from turnout.control.emissions import Emitter
from turnout.control.plane import ControlPlane
from turnout.errors import InvalidSettings, ProviderUnavailable, TurnoutError
from turnout.local.clock import SystemClock
from turnout.model.ids import new_run_id
from turnout.model.routing import Selection
from turnout.model.runs import Delivery
from turnout.model.tasks import App
from turnout.ports.artifact_store import ArtifactStore
from turnout.ports.caller import DurableCaller, Sighting, Surroundings
from turnout.ports.clock import Clock
from turnout.ports.run_store import Replica, RunStore
from turnout.ports.worker import Worker

log = logging.getLogger(__name__)
