-- Calls a minute, by tool: every attempt counts, at the time it was made, in UTC minutes.
-- A minute without a call isn't counted, so the typical minute is one in which the tool was in use.
-- over_time is the time from the first call of all to the last in ten equal parts, each as high as the tool's
-- calls in it beside the most that it has in any.
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
timed AS (
    SELECT
        *,
        date_part('epoch', minute) AS second,
        min(date_part('epoch', minute)) OVER () AS begins,
        max(date_part('epoch', minute)) OVER () AS ends
    FROM minutes
),
marked AS (
    SELECT
        *,
        max(calls) FILTER (WHERE minute IS NOT NULL) OVER (PARTITION BY tool) AS peak,
        CAST(floor(10 * (second - begins) / (ends - begins + 60)) AS BIGINT) AS part
    FROM timed
),
counted AS (
    SELECT
        tool,
        sum(calls) AS calls,
        max(peak) AS peak_per_minute,
        median(CAST(calls AS DOUBLE)) FILTER (WHERE minute IS NOT NULL) AS typical_per_minute,
        count(minute) AS minutes_in_use,
        min(minute) FILTER (WHERE calls = peak) AS busiest_minute,
        coalesce(sum(calls) FILTER (WHERE part = 0), 0) AS part_0,
        coalesce(sum(calls) FILTER (WHERE part = 1), 0) AS part_1,
        coalesce(sum(calls) FILTER (WHERE part = 2), 0) AS part_2,
        coalesce(sum(calls) FILTER (WHERE part = 3), 0) AS part_3,
        coalesce(sum(calls) FILTER (WHERE part = 4), 0) AS part_4,
        coalesce(sum(calls) FILTER (WHERE part = 5), 0) AS part_5,
        coalesce(sum(calls) FILTER (WHERE part = 6), 0) AS part_6,
        coalesce(sum(calls) FILTER (WHERE part = 7), 0) AS part_7,
        coalesce(sum(calls) FILTER (WHERE part = 8), 0) AS part_8,
        coalesce(sum(calls) FILTER (WHERE part = 9), 0) AS part_9,
        coalesce(sum(calls) FILTER (WHERE minute IS NULL), 0) AS calls_without_time
    FROM marked
    GROUP BY tool
),
scaled AS (
    SELECT
        *,
        greatest(1, part_0, part_1, part_2, part_3, part_4, part_5, part_6, part_7, part_8, part_9) AS most
    FROM counted
)
SELECT
    tool,
    calls,
    peak_per_minute,
    repeat('█', CAST(round(10.0 * peak_per_minute / max(peak_per_minute) OVER ()) AS BIGINT)) AS peak,
    typical_per_minute,
    minutes_in_use,
    busiest_minute,
    substr(' ▁▂▃▄▅▆▇█', 1 + CAST(ceil(8.0 * part_0 / most) AS BIGINT), 1)
        || substr(' ▁▂▃▄▅▆▇█', 1 + CAST(ceil(8.0 * part_1 / most) AS BIGINT), 1)
        || substr(' ▁▂▃▄▅▆▇█', 1 + CAST(ceil(8.0 * part_2 / most) AS BIGINT), 1)
        || substr(' ▁▂▃▄▅▆▇█', 1 + CAST(ceil(8.0 * part_3 / most) AS BIGINT), 1)
        || substr(' ▁▂▃▄▅▆▇█', 1 + CAST(ceil(8.0 * part_4 / most) AS BIGINT), 1)
        || substr(' ▁▂▃▄▅▆▇█', 1 + CAST(ceil(8.0 * part_5 / most) AS BIGINT), 1)
        || substr(' ▁▂▃▄▅▆▇█', 1 + CAST(ceil(8.0 * part_6 / most) AS BIGINT), 1)
        || substr(' ▁▂▃▄▅▆▇█', 1 + CAST(ceil(8.0 * part_7 / most) AS BIGINT), 1)
        || substr(' ▁▂▃▄▅▆▇█', 1 + CAST(ceil(8.0 * part_8 / most) AS BIGINT), 1)
        || substr(' ▁▂▃▄▅▆▇█', 1 + CAST(ceil(8.0 * part_9 / most) AS BIGINT), 1) AS over_time,
    calls_without_time
FROM scaled
ORDER BY peak_per_minute DESC NULLS LAST, calls DESC, tool
