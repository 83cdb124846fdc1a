"""The made-up adapters `acme`, which has an offline server, and `bolt`, which has none."""

from tests.acme_installed import made_up_adapters

__all__ = ["made_up_adapters"]
