-- rows written when the orchestrator was Inngest
ALTER TABLE runs ADD COLUMN provider text NOT NULL DEFAULT 'inngest';
