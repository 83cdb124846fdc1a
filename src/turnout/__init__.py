"""Run background tasks on one orchestrator or another, and move between them."""
