"""An offline double of the Inngest server, good enough for the unmodified official Python SDK.

Not for production. One process, state in memory, every change written behind to one SQLite file.
Map, from the top: `app` and its `api_*` and `gql` answer clients; `engine` puts the parts together;
`intake` says which runs an event starts; `runner` takes a run through its life, with `steps` (what
an answer asks for), `waits` and `calls`; `outcome` reads what the SDK answered; `scheduler` and
`capacity` say when; `world` finds what is known and `store` keeps it.
"""
