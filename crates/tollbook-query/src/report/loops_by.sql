-- All loops by tools, agent and period, with what looks like polling kept apart.
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
    array_to_string(tools, ' ') AS tools,
    agent,
    period,
    looks_like,
    count(*) AS loops,
    count(DISTINCT session) AS sessions,
    sum(wasted_calls) AS wasted_calls
FROM found
GROUP BY array_to_string(tools, ' '), agent, period, looks_like
ORDER BY looks_like = 'polling', wasted_calls DESC, tools, agent, period, looks_like
LIMIT 20
