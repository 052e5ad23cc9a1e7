-- The ten worst loops. Where results are unknown, nobody can tell a loop from polling by them.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
),
found AS (
    SELECT
        loops.*,
        chosen.agent,
        -- The same calls with other results, or spread over hours, look like a wait and not like a mistake.
        loops.results = 'differ' OR coalesce(loops.span >= INTERVAL '1 hour', false) AS polling
    FROM loops() AS loops
    JOIN chosen ON chosen.instance = loops.instance AND chosen.seq = loops.start_seq
)
SELECT
    session,
    agent,
    array_to_string(tools, ' ') AS tools,
    period,
    repeats,
    calls,
    wasted_calls,
    repeat('█', CAST(round(10.0 * wasted_calls / max(wasted_calls) OVER ()) AS BIGINT)) AS share,
    errors,
    results,
    span,
    CASE WHEN polling THEN 'polling' ELSE 'loop' END AS looks_like,
    still_running
FROM found
ORDER BY polling, wasted_calls DESC, session, start_seq
LIMIT 10
