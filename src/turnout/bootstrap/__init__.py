"""The composition root: environment, files and entry points become live objects.

Only here are concrete stores and adapters known; below it everything is passed in. Each module is
imported by its own name, so that a command imports no more than it needs.
"""
