"""An offline double of the Inngest server, good enough for the unmodified official Python SDK.

Not for production. One process, state in memory, every change written behind to one SQLite file.
Map: `engine` decides what a run does next, `intake` which runs an event starts, `outcome` reads
what the SDK answered, `scheduler` and `capacity` say when, `store` keeps it, `sdk_call` asks the
application, `api_*` and `gql` answer clients.
"""
