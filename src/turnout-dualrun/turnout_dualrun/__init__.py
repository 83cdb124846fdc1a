"""Dual runs: a shadow on the other provider, hermetic by construction.

The primary runs as if nothing else existed. A shadow has a run store and concurrency slots of its
own, only reads the primary's journal, and starts a constant lag after its primary was emitted.
"""
