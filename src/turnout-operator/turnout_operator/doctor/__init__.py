"""The doctor: what is configured, reachable, registered and agreed among replicas."""
