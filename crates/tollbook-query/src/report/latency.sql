-- How long decisions took (microseconds) and answers (milliseconds), by tool. Where a record has no such time
-- but a start and an end, the difference is taken.
WITH chosen AS (
    SELECT *
    FROM calls
    WHERE true
),
timed AS (
    SELECT
        tool,
        decide_ns / 1000.0 AS decide_us,
        coalesce(
            CAST(upstream_us AS DOUBLE) / 1000,
            CAST(arrow_cast(done_ts - ts, 'Int64') AS DOUBLE) / 1000
        ) AS upstream_ms
    FROM chosen
    WHERE tool IS NOT NULL
)
SELECT
    tool,
    count(upstream_ms) AS answers,
    round(approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY upstream_ms), 1) AS upstream_p50_ms,
    round(approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY upstream_ms), 1) AS upstream_p95_ms,
    round(approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY upstream_ms), 1) AS upstream_p99_ms,
    round(max(upstream_ms), 1) AS upstream_max_ms,
    count(decide_us) AS decisions,
    round(approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY decide_us), 1) AS decide_p50_us,
    round(approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY decide_us), 1) AS decide_p99_us
FROM timed
GROUP BY tool
ORDER BY answers DESC, tool
