//! MCP in, MCP out: the one decision loop between an agent and its server.
