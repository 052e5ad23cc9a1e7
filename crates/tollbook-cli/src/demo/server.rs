//! A small MCP server of our own, over standard input and output: an invoicing service.
//!
//! It speaks the real protocol and keeps its invoices in memory. It is what the demo puts Tollbook in
//! front of.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use serde_json::{Value, json};

/// Answers requests, line by line, until the client hangs up.
pub fn serve(client: impl BufRead, mut answers: impl Write) -> std::io::Result<()> {
    let mut invoices = Invoices::default();
    for line in client.lines() {
        let line = line?;
        let Ok(request) = serde_json::from_str::<Value>(&line) else { continue };
        let Some(id) = request.get("id") else { continue };
        let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
        let params = request.get("params").unwrap_or(&Value::Null);
        let answer = match answer(&mut invoices, method, params) {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
            Err((code, message)) => {
                json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
            }
        };
        writeln!(answers, "{answer}")?;
        answers.flush()?;
    }
    Ok(())
}

fn answer(invoices: &mut Invoices, method: &str, params: &Value) -> Result<Value, (i64, String)> {
    match method {
        "initialize" => {
            let version = params.get("protocolVersion").cloned().unwrap_or_else(|| "2025-11-25".into());
            let info = json!({ "name": "tollbook-demo-billing", "version": env!("CARGO_PKG_VERSION") });
            Ok(json!({ "protocolVersion": version, "capabilities": { "tools": {} }, "serverInfo": info }))
        }
        "ping" => Ok(json!({})),
        "tools/list" => Ok(json!({ "tools": tools() })),
        "tools/call" => {
            let name = params.get("name").and_then(Value::as_str).unwrap_or_default();
            let told = invoices.call(name, params.get("arguments").unwrap_or(&Value::Null));
            let (text, is_error) = match told {
                Some(Ok(text)) => (text, false),
                Some(Err(text)) => (text, true),
                None => return Err((-32602, format!("Unknown tool: {name}"))),
            };
            Ok(json!({ "content": [{ "type": "text", "text": text }], "isError": is_error }))
        }
        _ => Err((-32601, format!("Method not found: {method}"))),
    }
}

fn tools() -> Value {
    let tool = |name: &str, description: &str, arguments: Value| {
        let required: Vec<&String> = arguments.as_object().into_iter().flat_map(|map| map.keys()).collect();
        let schema = json!({ "type": "object", "properties": arguments, "required": required });
        json!({ "name": name, "description": description, "inputSchema": schema })
    };
    let text = || json!({ "type": "string" });
    let cents = || json!({ "type": "integer", "description": "Cents." });
    json!([
        tool("list_customers", "Lists the customers.", json!({})),
        tool("get_invoice_status", "Tells the status of an invoice.", json!({ "id": text() })),
        tool("create_invoice", "Writes an invoice to a customer.", json!({ "customer": text(), "amount": cents() })),
        tool("update_invoice", "Changes the amount of an open invoice.", json!({ "id": text(), "amount": cents() })),
        tool("void_invoice", "Voids an invoice.", json!({ "id": text() })),
        tool("delete_customer", "Deletes a customer and all invoices.", json!({ "customer": text() })),
    ])
}

#[derive(Default)]
struct Invoices {
    amounts: BTreeMap<String, i64>,
}

impl Invoices {
    /// What a tool says, an error of its own included; none for a tool that isn't there.
    fn call(&mut self, tool: &str, args: &Value) -> Option<Result<String, String>> {
        let text = |key: &str| args.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let amount = args.get("amount").and_then(Value::as_i64).unwrap_or_default();
        Some(match tool {
            "list_customers" => Ok("cus_ada, cus_bell, cus_curie, cus_darwin".to_owned()),
            "get_invoice_status" => Ok(format!("{}: open, {} invoices known", text("id"), self.amounts.len())),
            "create_invoice" => {
                let id = format!("in_{}", self.amounts.len() + 1);
                self.amounts.insert(id.clone(), amount);
                Ok(format!("{id}: {amount} cents to {}", text("customer")))
            }
            "update_invoice" => match self.amounts.get_mut(&text("id")) {
                Some(held) => {
                    *held = amount;
                    Ok(format!("{}: {amount} cents", text("id")))
                }
                None => Err(format!("There is no invoice {}.", text("id"))),
            },
            "void_invoice" => self
                .amounts
                .remove(&text("id"))
                .map(|_| "voided".to_owned())
                .ok_or("There is no such invoice.".to_owned()),
            "delete_customer" => Ok(format!("{} deleted", text("customer"))),
            _ => return None,
        })
    }
}
