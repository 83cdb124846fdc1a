"""What importing a project without a vendor showed."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, order=True, slots=True)
class Request:
    """A place that still asks for the vendor."""

    path: str
    """A file of the project, or of a package that is installed with it."""
    line: int
    """0 where the whole file is meant."""
    wanted: str
    """The module, or the package, that is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """The vendor is proven to be gone where nothing asks for it and nothing failed."""

    left_out: tuple[str, ...] = ()
    """Dependencies of the project that were not installed."""
    imported: tuple[str, ...] = ()
    """Modules that were imported, or programs that were type-checked."""
    requests: tuple[Request, ...] = ()
    problems: tuple[str, ...] = ()
    """What failed for another reason, so that the rest of it is not known."""

    def __add__(self, other: "Proof") -> "Proof":
        """Put together what two parts of a project showed."""
        return Proof(
            left_out=(*self.left_out, *other.left_out),
            imported=(*self.imported, *other.imported),
            requests=tuple(sorted({*self.requests, *other.requests})),
            problems=(*self.problems, *other.problems),
        )
