-- Loops as `loops()` defines them, by window functions: where a call equals the one `period` before it, runs of such
-- calls, and of those the ones with three whole repeats that lie inside no run of a smaller period. What repeats is
-- little, so no window but those of the first two steps is over all calls.
WITH numbered AS (
    SELECT
        session,
        row_number() OVER (PARTITION BY session ORDER BY seq) AS place,
        tool IS NOT NULL AND args_hash IS NOT NULL AS known,
        hash(tool, args_hash) AS id
    FROM calls
    WHERE session IS NOT NULL
),
marked AS (
    SELECT
        session,
        place,
        [
            known AND id = lag(id, 1) OVER in_order,
            known AND id = lag(id, 2) OVER in_order,
            known AND id = lag(id, 3) OVER in_order,
            known AND id = lag(id, 4) OVER in_order,
            known AND id = lag(id, 5) OVER in_order,
            known AND id = lag(id, 6) OVER in_order,
            known AND id = lag(id, 7) OVER in_order,
            known AND id = lag(id, 8) OVER in_order
        ] AS repeats
    FROM numbered
    WINDOW in_order AS (PARTITION BY session ORDER BY place)
),
matches AS (
    SELECT session, place, unnest([period FOR period IN range(1, 9) IF repeats[period]]) AS period
    FROM marked
    WHERE list_contains(repeats, true)
),
islands AS (
    SELECT session, period, place, place - row_number() OVER (PARTITION BY session, period ORDER BY place) AS island
    FROM matches
),
runs AS (
    SELECT session, period, min(place) - period AS first, max(place) AS last, count(*) + period AS calls
    FROM islands
    GROUP BY session, period, island
    HAVING count(*) >= 2 * period
)
SELECT count(*) AS loops, sum(calls // period * period) AS calls
FROM runs
WHERE NOT EXISTS (
    SELECT 1
    FROM runs AS other
    WHERE other.session = runs.session AND other.period < runs.period
        AND other.first <= runs.first AND other.last >= runs.last
)
