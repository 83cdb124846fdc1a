"""What we ask of the world: Protocols only."""
