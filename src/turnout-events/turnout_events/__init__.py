"""What happens to a run, as it is committed: for readers in code, and as server-sent events."""
