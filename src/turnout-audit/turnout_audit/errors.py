"""Every error that the audit raises; each is shown in one line, and has its exit code."""


class AuditError(Exception):
    """The audit cannot be done."""


class WrongArguments(AuditError):
    """The call cannot be right as it is."""


class InvalidInput(WrongArguments):
    """A rule set or a baseline is not valid, or a library is missing."""


class CannotTell(AuditError):
    """What was asked cannot be told here: a program is missing, failed, or took too long."""
