-- What each tool does, how often it is called, and how that ends.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
)
SELECT
    tool,
    category,
    count(*) AS calls,
    round(100.0 * count(*) / sum(count(*)) OVER (), 1) AS percent,
    repeat('█', CAST(round(10.0 * count(*) / max(count(*)) OVER ()) AS BIGINT)) AS share,
    count(DISTINCT session) AS sessions,
    count(*) FILTER (WHERE decision IN ('deny', 'hold')) AS refusals,
    count(*) FILTER (WHERE outcome IN ('tool_error', 'rpc_error', 'unreachable', 'timeout')) AS errors,
    count(*) FILTER (WHERE outcome IS NULL AND decision = 'allow') AS in_flight
FROM chosen
WHERE tool IS NOT NULL
GROUP BY tool, category
ORDER BY calls DESC, tool, category
