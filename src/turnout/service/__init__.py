"""The life of a process: what is started, in which order, and closed again."""
