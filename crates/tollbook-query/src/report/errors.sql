-- Calls that failed, by tool and outcome, in percent of the tool's calls that ended.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
),
failed AS (
    SELECT tool, outcome, count(*) AS calls, count(DISTINCT session) AS sessions, min(ts) AS first, max(ts) AS last
    FROM chosen
    WHERE outcome <> 'ok' AND tool IS NOT NULL
    GROUP BY tool, outcome
),
ended AS (
    SELECT tool, count(outcome) AS calls FROM chosen WHERE tool IS NOT NULL GROUP BY tool
)
SELECT
    failed.tool,
    failed.outcome,
    failed.calls,
    round(100.0 * failed.calls / ended.calls, 1) AS percent_of_tool,
    failed.sessions,
    failed.first,
    failed.last
FROM failed
JOIN ended ON ended.tool = failed.tool
ORDER BY failed.calls DESC, failed.tool, failed.outcome
