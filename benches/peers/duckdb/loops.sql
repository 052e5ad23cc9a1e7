-- Loops of period 1 alone, as window functions find them: runs of equal calls in a session, three or more.
WITH marked AS (
    SELECT
        session,
        seq,
        tool,
        args_hash IS NOT DISTINCT FROM lag(args_hash) OVER session_order
            AND tool IS NOT DISTINCT FROM lag(tool) OVER session_order
            AND args_hash IS NOT NULL AS repeats
    FROM calls
    WHERE session IS NOT NULL
    WINDOW session_order AS (PARTITION BY session ORDER BY seq)
),
islands AS (
    SELECT session, seq, tool, sum(CASE WHEN repeats THEN 0 ELSE 1 END) OVER (PARTITION BY session ORDER BY seq) AS island
    FROM marked
)
SELECT count(*) AS loops, sum(calls) AS calls
FROM (SELECT count(*) AS calls FROM islands GROUP BY session, island HAVING count(*) >= 3)
