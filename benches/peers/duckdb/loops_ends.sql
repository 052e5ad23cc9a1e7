-- Loops and what came of their calls, as `loops()` has them, by window functions: where a call equals the one `period` before it, runs of such
-- calls, and of those the ones with three whole repeats that lie inside no run of a smaller period. What repeats is
-- little, so no window but those of the first two steps is over all calls.
WITH numbered AS (
    SELECT
        session,
        row_number() OVER (PARTITION BY session ORDER BY seq) AS place,
        tool IS NOT NULL AND args_hash IS NOT NULL AS known,
        hash(tool, args_hash) AS id,
        ts,
        outcome IN ('tool_error', 'rpc_error', 'unreachable', 'timeout') AS failed,
        result_hash
    FROM calls
    WHERE session IS NOT NULL
),
marked AS (
    -- For each period: 0 where the call doesn't repeat, and otherwise 1, 2 or 3 as its result is the same, unknown or
    -- another.
    SELECT
        session,
        place,
        [
            CASE WHEN NOT known OR id IS DISTINCT FROM lag(id, 1) OVER in_order THEN 0 WHEN result_hash = lag(result_hash, 1) OVER in_order THEN 1 WHEN result_hash IS NULL OR lag(result_hash, 1) OVER in_order IS NULL THEN 2 ELSE 3 END,
            CASE WHEN NOT known OR id IS DISTINCT FROM lag(id, 2) OVER in_order THEN 0 WHEN result_hash = lag(result_hash, 2) OVER in_order THEN 1 WHEN result_hash IS NULL OR lag(result_hash, 2) OVER in_order IS NULL THEN 2 ELSE 3 END,
            CASE WHEN NOT known OR id IS DISTINCT FROM lag(id, 3) OVER in_order THEN 0 WHEN result_hash = lag(result_hash, 3) OVER in_order THEN 1 WHEN result_hash IS NULL OR lag(result_hash, 3) OVER in_order IS NULL THEN 2 ELSE 3 END,
            CASE WHEN NOT known OR id IS DISTINCT FROM lag(id, 4) OVER in_order THEN 0 WHEN result_hash = lag(result_hash, 4) OVER in_order THEN 1 WHEN result_hash IS NULL OR lag(result_hash, 4) OVER in_order IS NULL THEN 2 ELSE 3 END,
            CASE WHEN NOT known OR id IS DISTINCT FROM lag(id, 5) OVER in_order THEN 0 WHEN result_hash = lag(result_hash, 5) OVER in_order THEN 1 WHEN result_hash IS NULL OR lag(result_hash, 5) OVER in_order IS NULL THEN 2 ELSE 3 END,
            CASE WHEN NOT known OR id IS DISTINCT FROM lag(id, 6) OVER in_order THEN 0 WHEN result_hash = lag(result_hash, 6) OVER in_order THEN 1 WHEN result_hash IS NULL OR lag(result_hash, 6) OVER in_order IS NULL THEN 2 ELSE 3 END,
            CASE WHEN NOT known OR id IS DISTINCT FROM lag(id, 7) OVER in_order THEN 0 WHEN result_hash = lag(result_hash, 7) OVER in_order THEN 1 WHEN result_hash IS NULL OR lag(result_hash, 7) OVER in_order IS NULL THEN 2 ELSE 3 END,
            CASE WHEN NOT known OR id IS DISTINCT FROM lag(id, 8) OVER in_order THEN 0 WHEN result_hash = lag(result_hash, 8) OVER in_order THEN 1 WHEN result_hash IS NULL OR lag(result_hash, 8) OVER in_order IS NULL THEN 2 ELSE 3 END
        ] AS results
    FROM numbered
    WINDOW in_order AS (PARTITION BY session ORDER BY place)
),
matches AS (
    SELECT session, place, unnest([period FOR period IN range(1, 9) IF results[period] > 0]) AS period, results
    FROM marked
    WHERE list_max(results) > 0
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
),
loops AS (
    SELECT session, period, first, calls // period * period AS calls, first + calls // period * period - 1 AS last
    FROM runs
    WHERE NOT EXISTS (
        SELECT 1
        FROM runs AS other
        WHERE other.session = runs.session AND other.period < runs.period
            AND other.first <= runs.first AND other.last >= runs.last
    )
),
results AS (
    SELECT loops.session, loops.period, loops.first, max(matches.results[loops.period]) AS results
    FROM loops
    JOIN matches ON matches.session = loops.session AND matches.period = loops.period
        AND matches.place BETWEEN loops.first + loops.period AND loops.last
    GROUP BY ALL
),
ends AS (
    SELECT
        loops.session, loops.period, loops.first, any_value(loops.calls) AS calls,
        count(*) FILTER (WHERE failed) AS errors, max(ts) - min(ts) AS span
    FROM loops
    JOIN numbered ON numbered.session = loops.session AND place BETWEEN loops.first AND loops.last
    GROUP BY ALL
)
SELECT count(*), sum(calls), sum(errors), count(*) FILTER (WHERE results = 1), max(span)
FROM ends
JOIN results USING (session, period, first)
