"""The control plane: emit, schedule, cancel, report, over the run store and the callers."""
