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
    WHERE tool IS NOT NULL AND ts IS NOT NULL
    GROUP BY tool, date_trunc('minute', ts)
),
busiest AS (
    SELECT tool, minute, calls, row_number() OVER (PARTITION BY tool ORDER BY calls DESC, minute) AS place
    FROM minutes
),
timed AS (
    SELECT
        tool,
        max(calls) AS peak_per_minute,
        median(CAST(calls AS DOUBLE)) AS typical_per_minute,
        count(*) AS minutes_in_use
    FROM minutes
    GROUP BY tool
),
counted AS (
    SELECT tool, count(*) AS calls, count(DISTINCT session) AS sessions, count(*) - count(ts) AS calls_without_time
    FROM chosen
    WHERE tool IS NOT NULL
    GROUP BY tool
)
SELECT
    counted.tool,
    counted.calls,
    counted.sessions,
    timed.peak_per_minute,
    timed.typical_per_minute,
    timed.minutes_in_use,
    busiest.minute AS busiest_minute,
    counted.calls_without_time
FROM counted
LEFT JOIN timed ON timed.tool = counted.tool
LEFT JOIN busiest ON busiest.tool = counted.tool AND busiest.place = 1
ORDER BY timed.peak_per_minute DESC NULLS LAST, counted.calls DESC, counted.tool
