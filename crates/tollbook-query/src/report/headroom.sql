-- How full each limit was with the call that was judged, in percent of what it admits. Above 100 it would have
-- been exceeded. A limit whose argument holds no usable amount isn't counted.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
),
facts AS (
    SELECT unnest(limits) AS fact FROM chosen
),
used AS (
    SELECT
        fact['counter'] AS counter,
        fact['scope'] AS scope,
        fact['key'] AS key,
        CAST(fact['max'] AS DOUBLE) AS admits,
        100.0 * (CAST(fact['used_before'] AS DOUBLE) + CAST(fact['amount'] AS DOUBLE)) / CAST(fact['max'] AS DOUBLE)
            AS percent
    FROM facts
    WHERE fact['amount'] IS NOT NULL AND fact['max'] > 0
)
SELECT
    counter,
    scope,
    admits AS max,
    count(*) AS calls,
    count(DISTINCT key) AS keys,
    round(approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY percent), 1) AS p50_percent,
    round(approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY percent), 1) AS p95_percent,
    round(approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY percent), 1) AS p99_percent,
    round(max(percent), 1) AS max_percent,
    repeat('█', CAST(least(round(max(percent) / 10), 10) AS BIGINT)) AS fullest,
    count(*) FILTER (WHERE percent > 100) AS over
FROM used
GROUP BY counter, scope, admits
ORDER BY max_percent DESC, counter, scope, max
