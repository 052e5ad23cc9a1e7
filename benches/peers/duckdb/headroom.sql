-- The question of `report headroom`, in DuckDB's words.
WITH used AS (
    SELECT
        fact.counter,
        fact.scope,
        fact.key,
        CAST(fact.max AS DOUBLE) AS admits,
        100.0 * (CAST(fact.used_before AS DOUBLE) + CAST(fact.amount AS DOUBLE)) / CAST(fact.max AS DOUBLE) AS percent
    FROM (SELECT unnest(limits) AS fact FROM calls)
    WHERE fact.amount IS NOT NULL AND fact.max > 0
)
SELECT
    counter,
    scope,
    admits AS max,
    count(*) AS calls,
    count(DISTINCT key) AS keys,
    round(approx_quantile(percent, 0.5), 1) AS p50_percent,
    round(approx_quantile(percent, 0.95), 1) AS p95_percent,
    round(approx_quantile(percent, 0.99), 1) AS p99_percent,
    round(max(percent), 1) AS max_percent,
    count(*) FILTER (WHERE percent > 100) AS over
FROM used
GROUP BY counter, scope, admits
ORDER BY max_percent DESC, counter, scope, max
