"""An offline Trigger.dev server and a stand-in for its worker: doubles, not production."""
