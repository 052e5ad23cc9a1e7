-- Calls that failed, by tool and outcome.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
),
counted AS (
    SELECT tool, outcome, count(*) AS calls, count(DISTINCT session) AS sessions, min(ts) AS first, max(ts) AS last
    FROM chosen
    WHERE outcome IS NOT NULL AND tool IS NOT NULL
    GROUP BY tool, outcome
),
shared AS (
    SELECT *, round(100.0 * calls / sum(calls) OVER (PARTITION BY tool), 1) AS percent_of_tool FROM counted
)
SELECT tool, outcome, calls, percent_of_tool, sessions, first, last
FROM shared
WHERE outcome <> 'ok'
ORDER BY calls DESC, tool, outcome
