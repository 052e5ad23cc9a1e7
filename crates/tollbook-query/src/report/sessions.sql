-- The twenty sessions with the most calls.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
),
busiest AS (
    SELECT session, count(*) AS calls
    FROM chosen
    WHERE session IS NOT NULL
    GROUP BY session
    ORDER BY calls DESC, session
    LIMIT 20
)
SELECT
    chosen.session,
    min(chosen.agent) AS agent,
    max(busiest.calls) AS calls,
    repeat('█', CAST(round(10.0 * max(busiest.calls) / max(max(busiest.calls)) OVER ()) AS BIGINT)) AS share,
    count(DISTINCT chosen.tool) AS tools,
    count(*) FILTER (WHERE chosen.decision IN ('deny', 'hold')) AS refusals,
    count(*) FILTER (WHERE chosen.outcome IN ('tool_error', 'rpc_error', 'unreachable', 'timeout')) AS errors,
    min(chosen.ts) AS first_ts,
    max(chosen.ts) AS last_ts
FROM chosen
JOIN busiest ON busiest.session = chosen.session
GROUP BY chosen.session
ORDER BY calls DESC, session
