"""Functions written for the official SDK, unchanged, as Turnout's tasks."""

from turnout_inngest.adoption.adopting import Adopted, adopt, examine

__all__ = ["Adopted", "adopt", "examine"]
