-- The ten worst loops. Where results are unknown, nobody can tell a loop from polling by them.
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
    round(CAST(arrow_cast(span, 'Int64') AS DOUBLE) / 1000000, 1) AS span_s,
    looks_like,
    still_running
FROM found
ORDER BY looks_like = 'polling', wasted_calls DESC, session, start_seq
LIMIT 10
