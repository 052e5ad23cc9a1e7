-- How full each limit was with the call that was judged, in percent of what it admits. Above 100 it would have
-- been exceeded. A limit whose argument holds no usable amount isn't counted.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
),
used AS (
    SELECT
        limits.counter,
        limits.scope,
        limits.key,
        CAST(limits.max AS DOUBLE) AS admits,
        100.0 * (CAST(limits.used_before AS DOUBLE) + CAST(limits.amount AS DOUBLE)) / CAST(limits.max AS DOUBLE) AS percent
    FROM limits
    JOIN chosen ON chosen.instance = limits.instance AND chosen.seq = limits.seq AND chosen.log = limits.log
    WHERE limits.amount IS NOT NULL AND limits.max > 0
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
