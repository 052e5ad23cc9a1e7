"""Drives an MCP server with the real Python client: one line of JSON for each answer.

usage: client.py PLAN COMMAND ARGS...   where PLAN is a JSON list of [tool, arguments].
"""

import asyncio, json, sys
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

async def main():
    plan = json.loads(sys.argv[1])
    server = StdioServerParameters(command=sys.argv[2], args=sys.argv[3:])
    async with stdio_client(server) as (read, write):
        async with ClientSession(read, write) as session:
            await session.initialize()
            tools = await session.list_tools()
            print(json.dumps([tool.name for tool in tools.tools]))
            for name, arguments in plan:
                try:
                    result = await session.call_tool(name, arguments)
                    print(result.model_dump_json(by_alias=True))
                except Exception as error:
                    print(json.dumps({"exception": str(error)}))

asyncio.run(main())
