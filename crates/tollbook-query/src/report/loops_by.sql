-- All loops by tools, agent and period, with what looks like polling kept apart.
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
    array_to_string(tools, ' ') AS tools,
    agent,
    period,
    CASE WHEN polling THEN 'polling' ELSE 'loop' END AS looks_like,
    count(*) AS loops,
    count(DISTINCT session) AS sessions,
    sum(wasted_calls) AS wasted_calls
FROM found
GROUP BY array_to_string(tools, ' '), agent, period, polling
ORDER BY polling, wasted_calls DESC, tools, agent, period
LIMIT 20
