"""The ASGI side: the step endpoint, health, and what adapters serve."""
