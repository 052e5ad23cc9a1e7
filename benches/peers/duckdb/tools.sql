-- The question of `report tools`, worded so that DuckDB answers it fastest.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
),
counted AS (
    SELECT
        tool,
        category,
        count(*) AS calls,
        count(DISTINCT session) AS sessions,
        count(*) FILTER (WHERE decision IN ('deny', 'hold')) AS refusals,
        count(*) FILTER (WHERE outcome IN ('tool_error', 'rpc_error', 'unreachable', 'timeout')) AS errors,
        count(*) FILTER (WHERE outcome IS NULL AND decision = 'allow') AS in_flight
    FROM chosen
    WHERE tool IS NOT NULL
    GROUP BY tool, category
)
SELECT
    counted.tool,
    counted.category,
    counted.calls,
    round(100.0 * counted.calls / sum(counted.calls) OVER (), 1) AS percent,
    repeat('█', CAST(round(10.0 * counted.calls / max(counted.calls) OVER ()) AS BIGINT)) AS share,
    counted.sessions,
    counted.refusals,
    counted.errors,
    counted.in_flight
FROM counted
ORDER BY counted.calls DESC, counted.tool, counted.category
