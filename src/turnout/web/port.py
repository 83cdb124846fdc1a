"""Whether a port is free to listen on."""

import errno
import socket


def in_use(port: int, host: str = "127.0.0.1") -> bool:
    """Whether another process listens on a port of this machine; 0 means any free port."""
    if not port:
        return False
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
