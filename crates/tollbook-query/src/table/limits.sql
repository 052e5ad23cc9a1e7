SELECT
    instance, seq, ts, server, session, "grant", agent, tool, category, decision,
    fact['counter'] AS counter,
    fact['owner'] AS owner,
    fact['scope'] AS scope,
    fact['key'] AS key,
    fact['window_s'] AS window_s,
    fact['rolling'] AS rolling,
    fact['window_start'] AS window_start,
    fact['used_before'] AS used_before,
    fact['amount'] AS amount,
    fact['max'] AS max,
    fact['frees_at'] AS frees_at,
    fact['shadow'] AS shadow,
    log
FROM (
    SELECT instance, seq, ts, server, session, "grant", agent, tool, category, decision, unnest(limits) AS fact, log
    FROM calls
)
