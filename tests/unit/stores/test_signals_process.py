"""Signals within a process: after a commit, merged, to those who listen."""

import asyncio
import threading

from turnout.stores.sql.signals import ProcessSignals


async def test_a_signal_wakes_the_listeners_of_its_topic() -> None:
    """No other topic's, and nobody whose listening has ended."""
    signals, woken = ProcessSignals(), list[str]()
    end = signals.listen("due", lambda: woken.append("first"))
    signals.listen("due", lambda: woken.append("second"))
    signals.listen("other", lambda: woken.append("other"))
    signals.send("due")
    await asyncio.sleep(0)
    assert woken == ["first", "second"]
    end()
    signals.send("due")
    await asyncio.sleep(0)
    assert woken == ["first", "second", "second"]


async def test_signals_from_threads_are_merged_until_the_loop_turns() -> None:
    """A thousand commits before the loop turns are one wake."""
    signals, woken = ProcessSignals(), list[str]()
    signals.listen("due", lambda: woken.append("due"))
    threads = [threading.Thread(target=signals.send, args=("due",)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    await asyncio.sleep(0)
    assert woken == ["due"]


def test_a_signal_to_a_closed_loop_is_dropped() -> None:
    """A listener whose loop has ended keeps nobody from sending."""
    signals = ProcessSignals()

    async def listen() -> None:
        signals.listen("due", lambda: None)

    asyncio.run(listen())
    signals.send("due")
