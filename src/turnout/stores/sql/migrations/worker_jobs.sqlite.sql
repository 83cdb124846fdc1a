CREATE VIEW IF NOT EXISTS turnout_worker_jobs AS
SELECT
    r.run_id AS id,
    r.task AS type,
    json_extract(CAST(r.tags AS TEXT), '$[0]') AS tag,
    CAST(r.tags AS TEXT) AS tags,
    r.user_id,
    CAST(r.metadata AS TEXT) AS metadata,
    r.provider AS executor,
    r.task AS trigger_task_id,
    d.provider_run_id AS trigger_run_id,
    r.state AS trigger_status,
    CAST(r.payload AS TEXT) AS data,
    strftime('%Y-%m-%dT%H:%M:%fZ', r.emitted_at / 1000.0, 'unixepoch') AS created_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at / 1000.0, 'unixepoch') AS started,
    strftime('%Y-%m-%dT%H:%M:%fZ', r.ended_at / 1000.0, 'unixepoch') AS finished,
    CASE WHEN r.ended_at IS NOT NULL THEN r.state = 'completed' END AS success,
    CASE
        WHEN r.error_name IS NULL THEN CAST(r.result AS TEXT)
        ELSE json_object('error', r.error_name, 'message', r.error_message)
    END AS result,
    coalesce(r.origin, 'event') AS origin,
    r.retry_of,
    r.parent_run_id,
    f.run_id IS NOT NULL AS orphaned,
    f.resolution AS orphan_resolution
FROM turnout_runs AS r
LEFT JOIN turnout_deliveries AS d ON d.run_id = r.run_id AND d.number = r.delivery
LEFT JOIN (
    SELECT run_id, max(resolution) AS resolution
    FROM turnout_findings
    WHERE kind = 'missing' AND run_id IS NOT NULL
    GROUP BY run_id
) AS f ON f.run_id = r.run_id
