-- Calls a minute that change something, by category. A minute without such a call isn't counted.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
),
minutes AS (
    SELECT category, date_trunc('minute', ts) AS minute, count(*) AS calls
    FROM chosen
    WHERE category IN ('write', 'execute', 'destructive', 'financial') AND ts IS NOT NULL
    GROUP BY category, date_trunc('minute', ts)
),
whole AS (
    SELECT category, minute, calls FROM minutes
    UNION ALL
    SELECT 'all that change' AS category, minute, sum(calls) AS calls FROM minutes GROUP BY minute
)
SELECT
    category,
    sum(calls) AS calls,
    max(calls) AS peak_per_minute,
    median(CAST(calls AS DOUBLE)) AS typical_per_minute,
    count(*) AS minutes_in_use
FROM whole
GROUP BY category
ORDER BY calls DESC, category
