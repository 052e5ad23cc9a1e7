-- The question of `report latency`, in DuckDB's words.
WITH timed AS (
    SELECT
        tool,
        decide_ns / 1000.0 AS decide_us,
        coalesce(CAST(upstream_us AS DOUBLE) / 1000, CAST(epoch_us(done_ts) - epoch_us(ts) AS DOUBLE) / 1000)
            AS upstream_ms
    FROM calls
    WHERE tool IS NOT NULL
)
SELECT
    tool,
    count(upstream_ms) AS answers,
    round(approx_quantile(upstream_ms, 0.5), 1) AS upstream_p50_ms,
    round(approx_quantile(upstream_ms, 0.95), 1) AS upstream_p95_ms,
    round(approx_quantile(upstream_ms, 0.99), 1) AS upstream_p99_ms,
    round(max(upstream_ms), 1) AS upstream_max_ms,
    count(decide_us) AS decisions,
    round(approx_quantile(decide_us, 0.5), 1) AS decide_p50_us,
    round(approx_quantile(decide_us, 0.99), 1) AS decide_p99_us
FROM timed
GROUP BY tool
ORDER BY answers DESC, tool
