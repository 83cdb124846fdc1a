"""The embedded provider: the pump itself is the caller.

For one machine, tests and development; at scale the caller is a vendor's engine.
"""
