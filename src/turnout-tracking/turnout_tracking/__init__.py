"""Compares the run store with what the providers have, and repairs it."""
