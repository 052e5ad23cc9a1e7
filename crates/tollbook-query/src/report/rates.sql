-- Calls a minute, by tool: every attempt counts, at the time it was made, in UTC minutes.
-- A minute without a call isn't counted, so the typical minute is one in which the tool was in use.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
),
minutes AS (
    SELECT tool, date_trunc('minute', ts) AS minute, count(*) AS calls
    FROM chosen
    WHERE tool IS NOT NULL
    GROUP BY tool, date_trunc('minute', ts)
),
marked AS (
    SELECT *, max(calls) FILTER (WHERE minute IS NOT NULL) OVER (PARTITION BY tool) AS peak FROM minutes
),
counted AS (
    SELECT
        tool,
        sum(calls) AS calls,
        max(peak) AS peak_per_minute,
        median(CAST(calls AS DOUBLE)) FILTER (WHERE minute IS NOT NULL) AS typical_per_minute,
        count(minute) AS minutes_in_use,
        min(minute) FILTER (WHERE calls = peak) AS busiest_minute,
        coalesce(sum(calls) FILTER (WHERE minute IS NULL), 0) AS calls_without_time
    FROM marked
    GROUP BY tool
)
SELECT
    tool,
    calls,
    peak_per_minute,
    repeat('█', CAST(round(10.0 * peak_per_minute / max(peak_per_minute) OVER ()) AS BIGINT)) AS peak,
    typical_per_minute,
    minutes_in_use,
    busiest_minute,
    calls_without_time
FROM counted
ORDER BY peak_per_minute DESC NULLS LAST, calls DESC, tool
