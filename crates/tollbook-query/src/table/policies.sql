SELECT
    kept.policy_hash,
    kept.name,
    kept.source,
    coalesce(used.calls, 0) AS calls,
    used.first_ts,
    used.last_ts,
    kept.log
FROM policy_files AS kept
LEFT JOIN (
    SELECT policy_hash, log, count(*) AS calls, min(ts) AS first_ts, max(ts) AS last_ts
    FROM calls
    GROUP BY policy_hash, log
) AS used ON used.policy_hash = kept.policy_hash AND used.log = kept.log
