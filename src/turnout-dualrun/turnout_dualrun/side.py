"""Composes what a dual run adds to its primary's side."""

from functools import partial

from turnout.bootstrap.live import DualRun, Foundation, SideStart, make_worker
from turnout.bootstrap.stores import open_artifacts, open_shadow_store
from turnout.ports.signals import DUE_SHADOW, Signals
from turnout.stores.artifacts.views import only_shadows
from turnout.worker.bodies import LiveBodies
from turnout_dualrun.bodies import ShadowBodies
from turnout_dualrun.effects import ShadowEffects
from turnout_dualrun.feeder import Feeder, FeedTiming, reason_of
from turnout_dualrun.recordings import Recordings
from turnout_dualrun.worker import DualWorker


def dual_run(base: Foundation, primary: SideStart, signals: Signals) -> DualRun:
    """Make the shadows' side: a store of its own, and artifacts below -dryrun only.

    The entry point `turnout.dualrun` names this function.
    """
    settings, recordings = base.settings, Recordings(primary.store.journals)
    store = open_shadow_store(settings, base.app, partial(signals.send, DUE_SHADOW))
    effects = ShadowEffects(recordings, longest=settings.longest_wait)
    bodies = ShadowBodies(
        app=base.app, recordings=recordings, clock=base.clock, live=LiveBodies(base.clock)
    )
    side = SideStart(
        store=store,
        artifacts=open_artifacts(settings, only_shadows),
        topic=DUE_SHADOW,
        effects=effects,
        worker=make_worker(base, store, effects, bodies, None, replicas=primary.store.replicas),
        mark=lambda journal: reason_of(journal.run),
    )
    return DualRun(
        side=side,
        worker=DualWorker(primary=primary.worker, shadow=side.worker, recordings=recordings),
        feeder=Feeder(
            primaries=primary.store,
            shadows=store,
            app=base.app,
            clock=base.clock,
            timing=FeedTiming(lag=settings.dual_lag),
        ),
    )
