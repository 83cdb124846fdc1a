"""The servers that speak S3, which the runtime's tests use, too."""

from tests.servers import moto_server, rclone_server

__all__ = ["moto_server", "rclone_server"]
