"""What the offline server refuses: as the vendor's server says it, or in words of its own."""

from turnout.errors import WrongUse


class RefusedBySync(WrongUse):
    """A function's configuration that the offline server cannot honour."""

    code = "sync_refused"


class InvalidFunction(RefusedBySync):
    """A function's configuration that the vendor's server refuses too, with its reasons."""

    code = "invalid_function"

    def __init__(self, *reasons: str) -> None:
        self.reasons = reasons
        super().__init__("; ".join(reasons))
