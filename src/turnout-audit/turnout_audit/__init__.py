"""Find every trace of a vendor in a tree of files, fix it, and show how it goes away."""

__version__ = "0.1.0"
