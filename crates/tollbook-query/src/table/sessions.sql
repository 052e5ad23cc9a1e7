WITH counted AS (
    SELECT
        session,
        instance,
        log,
        min("grant") AS "grant",
        min(agent) AS agent,
        count(*) AS calls,
        count(DISTINCT tool) AS tools,
        count(*) FILTER (WHERE decision IN ('deny', 'hold')) AS refusals,
        count(*) FILTER (WHERE outcome IN ('tool_error', 'rpc_error', 'unreachable', 'timeout')) AS errors,
        count(*) FILTER (WHERE category IN ('write', 'execute', 'destructive', 'financial')) AS writes,
        min(ts) AS first_ts,
        max(ts) AS last_ts
    FROM calls
    WHERE session IS NOT NULL
    GROUP BY session, instance, log
),
looped AS (
    SELECT session, instance, log, count(*) AS loops, sum(calls) AS loop_calls
    FROM loops()
    GROUP BY session, instance, log
)
SELECT
    counted.session,
    counted."grant",
    counted.agent,
    counted.calls,
    counted.tools,
    counted.refusals,
    counted.errors,
    counted.writes,
    counted.writes / greatest(CAST(arrow_cast(counted.last_ts - counted.first_ts, 'Int64') AS DOUBLE) / 60000000, 1)
        AS writes_per_minute,
    coalesce(looped.loops, 0) AS loops,
    coalesce(looped.loop_calls, 0) AS loop_calls,
    counted.first_ts,
    counted.last_ts,
    counted.last_ts - counted.first_ts AS span,
    counted.instance,
    counted.log
FROM counted
LEFT JOIN looped ON looped.session = counted.session AND looped.instance = counted.instance AND looped.log = counted.log
