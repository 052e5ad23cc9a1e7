-- Refused and held calls, by what refused them. A frame that names no tool is shown with an empty one.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
),
met AS (
    SELECT
        coalesce(rule, judged_by) AS rule,
        reason,
        tool,
        session,
        count(*) AS calls,
        min(ts) AS first,
        max(ts) AS last
    FROM chosen
    WHERE decision IN ('deny', 'hold')
    GROUP BY coalesce(rule, judged_by), reason, tool, session
)
SELECT
    rule,
    reason,
    tool,
    CAST(sum(calls) AS BIGINT) AS calls,
    count(session) AS sessions,
    min(first) AS first,
    max(last) AS last
FROM met
GROUP BY rule, reason, tool
ORDER BY calls DESC, rule, tool
