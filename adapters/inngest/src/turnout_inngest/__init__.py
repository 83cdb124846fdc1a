"""Inngest behind Turnout's port.

`plugin` is the adapter itself; `devserver` is a double of the Inngest server for laptops and CI,
a separate process that speaks only HTTP.
"""
