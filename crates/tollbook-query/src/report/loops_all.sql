-- All loops, with what looks like polling kept apart.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
),
found AS (
    SELECT loops.*, chosen.agent
    FROM loops() AS loops
    JOIN chosen ON chosen.instance = loops.instance AND chosen.seq = loops.start_seq AND chosen.log = loops.log
)
SELECT
    looks_like,
    count(*) AS loops,
    count(DISTINCT session) AS sessions,
    (SELECT count(DISTINCT session) FROM chosen) AS of_sessions,
    sum(calls) AS calls,
    sum(wasted_calls) AS wasted_calls,
    round(100.0 * sum(calls) / (SELECT count(*) FROM chosen), 2) AS percent_of_calls,
    round(CAST(sum(arrow_cast(span, 'Int64')) AS DOUBLE) / 1000000, 1) AS span_s,
    count(*) FILTER (WHERE results = 'same') AS results_same,
    count(*) FILTER (WHERE results = 'differ') AS results_differ,
    count(*) FILTER (WHERE results = 'unknown') AS results_unknown
FROM found
GROUP BY looks_like
ORDER BY looks_like = 'polling', looks_like
