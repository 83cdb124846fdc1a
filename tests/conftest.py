"""Fixtures for all tests; each lives in a module that is named by what it runs."""

from tests.servers import moto_server, rclone_server

__all__ = ["moto_server", "rclone_server"]
