-- What each tool does, how often it is called, and how that ends.
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
        count(*) FILTER (WHERE decision IN ('deny', 'hold')) AS refusals,
        count(*) FILTER (WHERE outcome IN ('tool_error', 'rpc_error', 'unreachable', 'timeout')) AS errors,
        count(*) FILTER (WHERE outcome IS NULL AND decision = 'allow') AS in_flight
    FROM chosen
    WHERE tool IS NOT NULL
    GROUP BY tool, category
),
met AS (
    SELECT tool, category, session FROM chosen WHERE tool IS NOT NULL GROUP BY tool, category, session
),
reached AS (
    SELECT tool, category, count(session) AS sessions FROM met GROUP BY tool, category
)
SELECT
    counted.tool,
    counted.category,
    counted.calls,
    round(100.0 * counted.calls / sum(counted.calls) OVER (), 1) AS percent,
    repeat('█', CAST(round(10.0 * counted.calls / max(counted.calls) OVER ()) AS BIGINT)) AS share,
    reached.sessions,
    counted.refusals,
    counted.errors,
    counted.in_flight
FROM counted
JOIN reached ON reached.tool = counted.tool AND reached.category IS NOT DISTINCT FROM counted.category
ORDER BY counted.calls DESC, counted.tool, counted.category
