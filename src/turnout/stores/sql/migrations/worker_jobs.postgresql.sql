CREATE OR REPLACE VIEW turnout_worker_jobs AS
SELECT
    r.run_id AS id,
    r.task AS type,
    convert_from(r.tags, 'UTF8')::json ->> 0 AS tag,
    convert_from(r.tags, 'UTF8')::json AS tags,
    r.user_id,
    convert_from(r.metadata, 'UTF8')::json AS metadata,
    r.provider AS executor,
    r.task AS trigger_task_id,
    d.provider_run_id AS trigger_run_id,
    r.state AS trigger_status,
    convert_from(r.payload, 'UTF8')::json AS data,
    to_timestamp(r.emitted_at / 1000.0) AS created_at,
    to_timestamp(r.started_at / 1000.0) AS started,
    to_timestamp(r.ended_at / 1000.0) AS finished,
    CASE WHEN r.ended_at IS NOT NULL THEN r.state = 'completed' END AS success,
    CASE
        WHEN r.error_name IS NULL THEN convert_from(r.result, 'UTF8')::json
        ELSE json_build_object('error', r.error_name, 'message', r.error_message)
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
