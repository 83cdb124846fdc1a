"""The management API, one module a noun."""
