#!/usr/bin/env bash
# Installs the real MCP servers and the real client that the tests use, pinned, into the directory $1.
# Exits with 3 where npm or pip can't be had.
set -euo pipefail
into=$1
command -v npm >/dev/null || { echo "npm is missing" >&2; exit 3; }
command -v python3 >/dev/null || { echo "python3 is missing" >&2; exit 3; }
mkdir -p "$into"
if [ ! -x "$into/python/bin/mcp-server-git" ]; then
    python3 -m venv "$into/python" || { echo "python3 has no venv" >&2; exit 3; }
    "$into/python/bin/pip" --quiet --disable-pip-version-check install mcp==2.3.0 mcp-server-git==2026.10.19 \
        || { echo "pip could not install" >&2; exit 3; }
fi
if [ ! -e "$into/node_modules/.bin/mcp-server-filesystem" ]; then
    npm install --silent --no-fund --no-audit --prefix "$into" @modelcontextprotocol/server-filesystem@2026.8.31 >/dev/null \
        || { echo "npm could not install" >&2; exit 3; }
fi
