"""Dual runs: a shadow on the other provider, hermetic by construction.

The primary runs as if nothing else existed. A shadow has a run store and slots of its own, reads
the primary's journal read-only, and starts when its primary has ended.
"""
