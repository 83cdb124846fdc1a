"""An offline server that speaks Trigger.dev's own protocols: a double, not production."""
