-- Refused and held calls, by what refused them. A frame that names no tool is shown with an empty one.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
)
SELECT
    coalesce(rule, judged_by) AS rule,
    reason,
    tool,
    count(*) AS calls,
    count(DISTINCT session) AS sessions,
    min(ts) AS first,
    max(ts) AS last
FROM chosen
WHERE decision IN ('deny', 'hold')
GROUP BY coalesce(rule, judged_by), reason, tool
ORDER BY calls DESC, rule, tool
