"""Answers SQL with DuckDB, one JSON text a line: {"sql": …} in, {"seconds": …, "rows": …} out.

`calls` is what it is in Tollbook: a call's outcome may have come after its row was sealed, and is a row of `outcomes`
then. Where a question asks for no outcome, `calls` is the sealed rows alone, as nothing is joined there.
"""

import glob
import json
import re
import sys
import time

import duckdb

# Columns of `calls` that tell how a call ended, and what they are in `outcomes`.
ENDS = {
    "outcome": "outcome", "upstream_us": "upstream_us", "result_bytes": "result_bytes", "result_hash": "result_hash",
    "done_ts": "ts", "done_seq": "seq",
}

log, threads = sys.argv[1], int(sys.argv[2])
db = duckdb.connect()
db.sql(f"SET threads = {threads}")
db.sql("SET TimeZone = 'UTC'")
db.sql("CREATE SCHEMA sealed")
db.sql("CREATE SCHEMA merged")
files = {table: f"{log}/{table}/**/*.parquet" for table in ["calls", "outcomes"]}
db.sql(f"CREATE VIEW sealed.calls AS FROM read_parquet('{files['calls']}', union_by_name = true)")
if glob.glob(files["outcomes"], recursive=True):
    ends = ", ".join(f"coalesce(c.{own}, o.{late}) AS {own}" for own, late in ENDS.items())
    db.sql(
        f"CREATE VIEW merged.calls AS SELECT c.* REPLACE ({ends}) FROM sealed.calls AS c LEFT JOIN "
        f"read_parquet('{files['outcomes']}') AS o ON o.instance = c.instance AND o.call_seq = c.seq"
    )
else:
    db.sql("CREATE VIEW merged.calls AS FROM sealed.calls")
print(json.dumps({"version": duckdb.__version__}), flush=True)
for line in sys.stdin:
    sql = json.loads(line)["sql"]
    asked = re.search(rf"\b({'|'.join(ENDS)})\b", sql)
    db.sql(f"SET schema = '{'merged' if asked else 'sealed'}'")
    start = time.perf_counter()
    rows = db.sql(sql).fetchall()
    seconds = time.perf_counter() - start
    # Numbers that nobody rounds, of the first rows.
    whole = [[cell if isinstance(cell, int) else None for cell in row] for row in rows[:1000]]
    print(json.dumps({"seconds": seconds, "rows": len(rows), "whole": whole}), flush=True)
