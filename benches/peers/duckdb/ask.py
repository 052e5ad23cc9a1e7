"""Answers SQL with DuckDB, one JSON text a line: {"sql": …} in, {"seconds": …, "rows": …} out."""

import json
import sys
import time

import duckdb

log, threads = sys.argv[1], int(sys.argv[2])
db = duckdb.connect()
db.sql(f"SET threads = {threads}")
db.sql("SET TimeZone = 'UTC'")
db.sql(f"CREATE VIEW calls AS FROM read_parquet('{log}/calls/**/*.parquet', union_by_name = true)")
print(json.dumps({"version": duckdb.__version__}), flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    rows = db.sql(json.loads(line)["sql"]).fetchall()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "rows": len(rows), "first": [str(cell) for cell in rows[0]] if rows else []}), flush=True)
