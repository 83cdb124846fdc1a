"""The example: the agent service of a migration, and the whole journey between two providers."""
