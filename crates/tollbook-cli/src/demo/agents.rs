//! Made-up agents, in the shape of real ones, from a seed.
//!
//! What real records look like: a dozen calls to a session, several sessions at once, one neighbouring
//! pair of calls in five at the same instant, reads more often than writes, the odd tool error, polling
//! that is nobody's fault, and once in a while an agent that repeats one call dozens of times without an
//! error telling it to stop.

use fastrand::Rng;
use serde_json::{Value, json};

/// Sessions that come and go as they should.
pub const HEALTHY_SESSIONS: usize = 35;
/// Calls of the agent that is stuck.
pub const STUCK_CALLS: usize = 96;

/// One call that an agent makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Microseconds since the beginning of the demo's days.
    pub at_us: i64,
    /// Which session, from 0 on; the last one is stuck.
    pub session: usize,
    /// The tool.
    pub tool: &'static str,
    /// Its arguments.
    pub args: Value,
}

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3_600 * SECOND_US;
const CUSTOMERS: [&str; 4] = ["cus_ada", "cus_bell", "cus_curie", "cus_darwin"];

/// Every call of every session, in the order in which they are made.
pub fn plan(seed: u64) -> Vec<Planned> {
    let mut rng = Rng::with_seed(seed);
    let mut calls = Vec::new();
    for session in 0..HEALTHY_SESSIONS {
        healthy(&mut rng, session, &mut calls);
    }
    stuck(&mut rng, &mut calls);
    // A stable sort: calls at one instant keep the order in which their session makes them.
    calls.sort_by_key(|call| call.at_us);
    calls
}

fn healthy(rng: &mut Rng, session: usize, calls: &mut Vec<Planned>) {
    // Office hours of three days, begun well inside a minute.
    let day = i64::from(rng.u8(0..3));
    let mut at_us = day * 24 * HOUR_US + i64::from(rng.u32(0..8 * 3_600)) * SECOND_US;
    let customer = CUSTOMERS.get(rng.usize(0..CUSTOMERS.len())).copied().unwrap_or("cus_ada");
    let mut written = 0;
    for _ in 0..rng.usize(6..20) {
        let (tool, args) = match rng.u8(0..100) {
            0..20 => ("list_customers", json!({})),
            20..50 => ("get_invoice_status", json!({ "id": format!("in_{}", written.max(1)) })),
            50..80 => {
                written += 1;
                ("create_invoice", json!({ "customer": customer, "amount": rng.u32(5..400) * 50 }))
            }
            80..92 => {
                ("update_invoice", json!({ "id": format!("in_{}", rng.u32(1..4)), "amount": rng.u32(5..400) * 50 }))
            }
            92..96 => ("void_invoice", json!({ "id": format!("in_{}", written.max(1)) })),
            96..98 => ("create_invoice", json!({ "customer": customer, "amount": 250_000 })),
            _ => ("delete_customer", json!({ "customer": customer })),
        };
        calls.push(Planned { at_us, session, tool, args });
        // One pair in five is made at once.
        if rng.u8(0..5) > 0 {
            at_us += i64::from(rng.u32(1..25)) * SECOND_US + i64::from(rng.u32(0..1_000_000));
        }
    }
}

/// One agent sends the same update again and again, as fast as the answers come.
fn stuck(rng: &mut Rng, calls: &mut Vec<Planned>) {
    let session = HEALTHY_SESSIONS;
    let mut at_us = 30 * HOUR_US + 11 * SECOND_US;
    calls.push(Planned {
        at_us,
        session,
        tool: "create_invoice",
        args: json!({ "customer": "cus_bell", "amount": 4_200 }),
    });
    for _ in 0..STUCK_CALLS {
        at_us += i64::from(rng.u32(400_000..700_000));
        calls.push(Planned { at_us, session, tool: "update_invoice", args: json!({ "id": "in_1", "amount": 4_250 }) });
    }
}
