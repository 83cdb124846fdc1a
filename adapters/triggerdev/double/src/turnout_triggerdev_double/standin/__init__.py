"""A stand-in in Python for the TypeScript worker: no Node.js needed, the same conversation.

It knows the definition file, the vendor's dev-worker protocol and the step protocol, and nothing
of Turnout's code.
"""
