-- The twenty sessions with the most calls.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
)
SELECT
    session,
    min(agent) AS agent,
    count(*) AS calls,
    repeat('█', CAST(round(10.0 * count(*) / max(count(*)) OVER ()) AS BIGINT)) AS share,
    count(DISTINCT tool) AS tools,
    count(*) FILTER (WHERE decision IN ('deny', 'hold')) AS refusals,
    count(*) FILTER (WHERE outcome IN ('tool_error', 'rpc_error', 'unreachable', 'timeout')) AS errors,
    min(ts) AS first_ts,
    max(ts) AS last_ts
FROM chosen
WHERE session IS NOT NULL
GROUP BY session
ORDER BY calls DESC, session
LIMIT 20
