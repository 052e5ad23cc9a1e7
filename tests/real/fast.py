"""Drives an MCP server with fastmcp: one line of JSON for each answer.

usage: fast.py PLAN COMMAND ARGS...   where PLAN is a JSON list of [tool, arguments].
"""

import asyncio, json, sys
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

async def main():
    plan = json.loads(sys.argv[1])
    async with Client(StdioTransport(command=sys.argv[2], args=sys.argv[3:])) as client:
        print(json.dumps([tool.name for tool in await client.list_tools()]))
        for name, arguments in plan:
            result = await client.call_tool_mcp(name, arguments)
            print(result.model_dump_json(by_alias=True))

asyncio.run(main())
