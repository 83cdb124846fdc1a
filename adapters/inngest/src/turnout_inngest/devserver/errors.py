"""What the offline server refuses, in its own words."""

from turnout.errors import WrongUse


class RefusedBySync(WrongUse):
    """A function's configuration that the offline server cannot honour."""

    code = "sync_refused"


class InvalidExpression(RefusedBySync):
    """Not an expression of the supported subset of CEL."""

    code = "invalid_expression"
