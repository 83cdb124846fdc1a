"""The ports: what Turnout asks of providers, stores and clocks. Protocols only."""
