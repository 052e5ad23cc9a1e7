// Drives an MCP server with the TypeScript SDK: one line of JSON for each answer.
//
// usage: client.mjs PLAN COMMAND ARGS...   where PLAN is a JSON list of [tool, arguments], and a URL may stand
// for the command; then TOLLBOOK_TOKEN is the bearer token.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [plan, command, ...args] = process.argv.slice(2);
const headers = process.env.TOLLBOOK_TOKEN ? { Authorization: `Bearer ${process.env.TOLLBOOK_TOKEN}` } : {};
const transport = command.startsWith('http://')
  ? new StreamableHTTPClientTransport(new URL(command), { requestInit: { headers } })
  : new StdioClientTransport({ command, args });
const client = new Client({ name: 'sdk', version: '1' }, { capabilities: {} });
await client.connect(transport);
const { tools } = await client.listTools();
console.log(JSON.stringify(tools.map((tool) => tool.name)));
for (const [name, given] of JSON.parse(plan)) {
  console.log(JSON.stringify(await client.callTool({ name, arguments: given })));
}
await client.close();
