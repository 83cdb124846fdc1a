"""Pairs of keys by which a server signs its calls, for tests."""

import base64
from pathlib import Path
from typing import Final

SEED: Final = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC_KEY: Final = "publickeyv1_FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z"
"""A pair of Ed25519 keys: the first test vector of RFC 8032."""
SECOND_SEED: Final = bytes.fromhex(
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
)
SECOND_PUBLIC_KEY: Final = "publickeyv1_586Z7H2vpX9qNhN2T4e9Utugie3ogjbxzGaMtM3E6HR5"
"""The second test vector."""
_PKCS8: Final = bytes.fromhex("302e020100300506032b657004220420")
"""What stands before the seed of such a key in its file."""


def key_file(path: Path, seed: bytes) -> Path:
    """Write a private key as the server reads it."""
    lines = ("PRIVATE KEY", base64.b64encode(_PKCS8 + seed).decode(), "PRIVATE KEY")
    path.write_text("-----BEGIN {}-----\n{}\n-----END {}-----\n".format(*lines))
    return path
