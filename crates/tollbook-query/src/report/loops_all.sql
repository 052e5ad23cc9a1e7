-- All loops, with what looks like polling kept apart.
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
    CASE WHEN polling THEN 'polling' ELSE 'loop' END AS looks_like,
    count(*) AS loops,
    count(DISTINCT session) AS sessions,
    (SELECT count(DISTINCT session) FROM chosen) AS of_sessions,
    sum(calls) AS calls,
    sum(wasted_calls) AS wasted_calls,
    round(100.0 * sum(calls) / (SELECT count(*) FROM chosen), 2) AS percent_of_calls,
    CAST(sum(arrow_cast(span, 'Int64')) AS DOUBLE) / 1000000 AS span_s,
    count(*) FILTER (WHERE results = 'same') AS results_same,
    count(*) FILTER (WHERE results = 'differ') AS results_differ,
    count(*) FILTER (WHERE results = 'unknown') AS results_unknown
FROM found
GROUP BY polling
ORDER BY polling
