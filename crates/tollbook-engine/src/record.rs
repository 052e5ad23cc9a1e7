//! What is kept of a call: the events of a log, in one order, with canonical bytes.
//!
//! An event's bytes are a deterministic function of the event (CBOR, RFC 8949, section 4.2: definite
//! lengths, shortest integers, fields by number, absent ones left out at the end). They are what is
//! written, synced and hashed, and `verify` makes them again from Parquet. So a field is only ever
//! added, with the next number and optional; none is renumbered, reused or removed.

use minicbor::{Decode, Encode};

/// One event of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Event {
    /// Place in the instance's order, from 0 without gaps.
    #[n(0)]
    pub seq: u64,
    /// Microseconds since 1970-01-01T00:00:00Z; never less than an earlier event's of the instance.
    /// None where an imported record has no time.
    #[n(1)]
    pub ts_us: Option<i64>,
    /// What happened.
    #[n(2)]
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Body {
    /// An engine began to judge, its state empty but for what it carries on.
    #[n(0)]
    Opened(#[n(0)] Opened),
    /// From here on a policy judges the calls of a server and a grant.
    #[n(1)]
    Activated(#[n(0)] Activated),
    /// A call was judged, or was imported.
    #[n(2)]
    Decision(#[n(0)] Box<Record>),
    /// A call that was let through ended.
    #[n(3)]
    Outcome(#[n(0)] Outcome),
    /// Calls went by that could not be recorded.
    #[n(4)]
    Gap(#[n(0)] Gap),
    /// A person answered a call that waits.
    #[n(5)]
    Answered(#[n(0)] Answered),
    /// An operator emptied counters.
    #[n(6)]
    Reset(#[n(0)] Reset),
    /// An operator stopped a grant's calls, or let them go on.
    #[n(7)]
    Frozen(#[n(0)] Frozen),
    /// What earlier instances had counted goes on here.
    #[n(8)]
    Carried(#[n(0)] Carried),
    /// Old events were removed from the log.
    #[n(9)]
    Pruned(#[n(0)] Pruned),
    /// The wall clock went back. Until it has caught up, time stands still in the log.
    #[n(10)]
    ClockBack(#[n(0)] ClockBack),
    /// Nobody answered a call that waited, in the time that its policy gives.
    #[n(11)]
    Expired(#[n(0)] Expired),
}

/// An engine began to judge.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Opened {
    /// Version of the engine, as in `tollbook --version`.
    #[n(0)]
    pub engine: String,
    /// The engine's bounds, which decide when a call is refused with `state_full`.
    #[n(1)]
    pub bounds: Bounds,
    /// What was imported, where the events come from another log: its format and file name.
    #[n(2)]
    pub imported_from: Option<String>,
}

/// Bounds of an engine's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Bounds {
    /// Counters with a charge in their window. A call that needs one more is refused with
    /// `state_full`.
    #[n(0)]
    pub keys_max: u64,
    /// Calls that were let through and haven't ended. Beyond it the oldest is given up: its charge
    /// stays.
    #[n(1)]
    pub in_flight_max: u64,
    /// Sessions whose recent calls a breaker looks back on. A call of one more is refused with
    /// `state_full`.
    #[n(2)]
    pub sessions_max: u64,
    /// Approvals that are open. A call that needs one more is refused with `state_full`.
    #[n(3)]
    pub approvals_max: u64,
    /// Charges that rolling windows remember, all together. A call that needs one more is refused with
    /// `state_full`.
    #[n(4)]
    pub rolling_charges_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            keys_max: 10_000_000,
            in_flight_max: 1_000_000,
            sessions_max: 1_000_000,
            approvals_max: 10_000,
            rolling_charges_max: 100_000_000,
        }
    }
}

/// A policy took effect.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Activated {
    /// The server whose calls it judges.
    #[n(0)]
    pub server: String,
    /// The grant; none means every grant on the server.
    #[n(1)]
    pub grant: Option<String>,
    /// SHA-256 of the policy's canonical JSON.
    #[n(2)]
    pub policy: PolicyHash,
}

/// Calls went by that could not be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Gap {
    /// How many calls, where it is known.
    #[n(0)]
    pub calls: Option<u64>,
    /// Why.
    #[n(1)]
    pub cause: String,
}

/// The wall clock went back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClockBack {
    /// How far behind the latest event it was when that was noticed, in microseconds.
    #[n(0)]
    pub behind_us: u64,
}

/// A person answered a call that waits.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Answered {
    /// The approval's id, as in [`Record::approval`].
    #[n(0)]
    pub approval: String,
    /// Whether the call may pass.
    #[n(1)]
    pub approved: bool,
    /// Who says so, as far as the gateway can tell.
    #[n(2)]
    pub by: Option<String>,
}

/// Nobody answered a call that waited, or one that was let pass wasn't made again. That it is over follows from the time
/// alone, so no replay depends on this.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Expired {
    /// The approval's id, as in [`Record::approval`].
    #[n(0)]
    pub approval: String,
}

/// An operator emptied counters.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reset {
    /// Name of the counter; none means every counter.
    #[n(0)]
    pub counter: Option<String>,
    /// The scope's value; none means every one.
    #[n(1)]
    pub key: Option<String>,
    /// Who did it, as far as the gateway can tell.
    #[n(2)]
    pub by: Option<String>,
}

/// An operator stopped a grant's calls, or let them go on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Frozen {
    /// The grant.
    #[n(0)]
    pub grant: String,
    /// Stopped, rather than let go on.
    #[n(1)]
    pub frozen: bool,
    /// Who did it, as far as the gateway can tell.
    #[n(2)]
    pub by: Option<String>,
}

/// What earlier instances of the log had counted goes on in this one, as [`crate::State::carry`] says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Carried {
    /// The server whose counters they are; none means every server's.
    #[n(0)]
    pub server: Option<String>,
    /// The instances. What one has counted for a server is carried on once and by one other, or it would
    /// be counted twice.
    #[n(1)]
    pub from: Vec<String>,
    /// SHA-256 of the state that goes on, as [`crate::State::snapshot`] gives it.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
    /// Whether it is what a replay of these instances counts. It isn't where calls went by unrecorded.
    #[n(3)]
    pub replays: bool,
}

/// Old events were removed from the log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Pruned {
    /// The first event that is left.
    #[n(0)]
    pub first_seq: u64,
    /// Everything that was removed happened before this instant, in microseconds since 1970.
    #[n(1)]
    pub before_us: i64,
}

/// SHA-256 of a policy's canonical JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct PolicyHash(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// First 128 bits of a SHA-256: of canonical arguments, or of the bytes of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Hash128(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

/// A call with its decision.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Record {
    /// Who decided.
    #[n(0)]
    pub judged_by: Judge,
    /// The server that the call was for.
    #[n(1)]
    pub server: String,
    /// The conversation. None where it isn't known.
    #[n(2)]
    pub session: Option<String>,
    /// The grant. None where it isn't known.
    #[n(3)]
    pub grant: Option<String>,
    /// The client program, with its version. None where it isn't known.
    #[n(4)]
    pub agent: Option<String>,
    /// The JSON text of the request's id.
    #[n(5)]
    pub request_id: Option<String>,
    /// The tool's name. None where a frame was too broken to tell.
    #[n(6)]
    pub tool: Option<String>,
    /// What was kept of the arguments.
    #[n(7)]
    pub args: RecordedArgs,
    /// The policy that judged; none where there was none.
    #[n(8)]
    pub policy: Option<PolicyHash>,
    /// Whether a refusal was acted upon.
    #[n(9)]
    pub mode: Mode,
    /// The decision. None on imported calls, which nobody judged.
    #[n(10)]
    pub verdict: Option<Verdict>,
    /// Stable code of the reason, such as `limit`; see [`crate::Reason`] and the gateway's own codes.
    #[n(11)]
    pub reason: Option<String>,
    /// The rule that decided, shaped like a JSON Pointer.
    #[n(12)]
    pub rule: Option<String>,
    /// The text that the agent was given.
    #[n(13)]
    pub message: Option<String>,
    /// Every limit over the call that was looked at.
    #[n(14)]
    pub limits: Vec<LimitFact>,
    /// Nanoseconds that the decision took.
    #[n(15)]
    pub decide_ns: Option<u64>,
    /// W3C trace id of the request.
    #[n(16)]
    pub trace_id: Option<String>,
    /// What an imported record says of itself, such as `reward=1.0`.
    #[n(17)]
    pub label: Option<String>,
    /// Rules under `shadow` that would have refused or held.
    #[n(18)]
    pub shadow_rules: Vec<String>,
    /// Calls in the block that repeats, where a breaker refused.
    #[n(19)]
    pub loop_period: Option<u32>,
    /// How often the block had been repeated, where a breaker refused.
    #[n(20)]
    pub loop_repeats: Option<u32>,
    /// Id of the approval that the call waits for, or that let it pass.
    #[n(21)]
    pub approval: Option<String>,
    /// The tool's category, such as `write`, where whoever judged knew it.
    #[n(22)]
    pub category: Option<String>,
    /// The event of the call of which this one is the rest, where the server had asked something back.
    #[n(23)]
    pub continues: Option<u64>,
}

impl Record {
    /// A call of which nothing is known but the server that it was for.
    #[must_use]
    pub fn new(judged_by: Judge, server: impl Into<String>) -> Self {
        Self {
            judged_by,
            server: server.into(),
            session: None,
            grant: None,
            agent: None,
            request_id: None,
            tool: None,
            args: RecordedArgs::default(),
            policy: None,
            mode: Mode::Enforce,
            verdict: None,
            reason: None,
            rule: None,
            message: None,
            limits: Vec::new(),
            decide_ns: None,
            trace_id: None,
            label: None,
            shadow_rules: Vec::new(),
            loop_period: None,
            loop_repeats: None,
            approval: None,
            category: None,
            continues: None,
        }
    }
}

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Judge {
    /// The engine, by a policy.
    #[n(0)]
    Engine,
    /// The gateway by itself, before any policy was asked.
    #[n(1)]
    Gateway,
    /// Nobody: the call was imported from another log.
    #[n(2)]
    Import,
}

/// Whether a refusal was acted upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Mode {
    /// It was.
    #[n(0)]
    Enforce,
    /// It was only recorded: the call went on.
    #[n(1)]
    Shadow,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Verdict {
    /// It goes on.
    #[n(0)]
    Allow,
    /// It is refused.
    #[n(1)]
    Deny,
    /// It waits for a person.
    #[n(2)]
    Hold,
    /// The record lacks what the policy reads, so there is no telling. Only in a replay.
    #[n(3)]
    Unknown,
}

/// What was kept of a call's arguments.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct RecordedArgs {
    /// How much of the arguments `json` holds.
    #[n(0)]
    pub kept: Kept,
    /// With [`Kept::Full`], the canonical arguments. With [`Kept::Read`], an object from each path that
    /// the policy reads for this tool, such as `args.amount`, to its canonical value, null where
    /// it is missing.
    #[n(1)]
    pub json: Option<String>,
    /// The top-level keys, sorted. None where they aren't known.
    #[n(2)]
    pub keys: Option<Vec<String>>,
    /// Hash of the canonical arguments. None where they aren't known.
    #[n(3)]
    pub hash: Option<Hash128>,
    /// Size of the arguments as they came, in bytes.
    #[n(4)]
    pub bytes: Option<u64>,
}

/// How much of the arguments was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Kept {
    /// No value.
    #[default]
    #[n(0)]
    None,
    /// The values of the paths that the policy reads.
    #[n(1)]
    Read,
    /// All.
    #[n(2)]
    Full,
}

/// A limit as a call met it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LimitFact {
    /// Name of the counter.
    #[n(0)]
    pub counter: String,
    /// What owns the counter: a tool, `group NAME` or `all tools`.
    #[n(1)]
    pub owner: String,
    /// Whose calls are counted together: `grant`, `session`, ….
    #[n(2)]
    pub scope: String,
    /// The scope's value: the grant's name, the session's, ….
    #[n(3)]
    pub key: String,
    /// Length of the window, in seconds.
    #[n(4)]
    pub window_s: u64,
    /// Exact rolling window rather than one aligned in UTC.
    #[n(5)]
    pub rolling: bool,
    /// Where the window began, in microseconds since 1970 (UTC).
    #[n(6)]
    pub window_start_us: i64,
    /// What the window held before this call, in millionths of a call or unit.
    #[n(7)]
    pub used_before_micros: i64,
    /// What this call would add, in millionths. None where the argument holds no usable amount.
    #[n(8)]
    pub amount_micros: Option<i64>,
    /// What the window admits, in millionths.
    #[n(9)]
    pub max_micros: i64,
    /// When a call like this one fits again, in microseconds since 1970. None where it fits now, or never
    /// will.
    #[n(10)]
    pub frees_at_us: Option<i64>,
    /// Measured, never enforced.
    #[n(11)]
    pub shadow: bool,
}

/// A call that was let through ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Outcome {
    /// Sequence number of the call's decision, in the same instance.
    #[n(0)]
    pub call_seq: u64,
    /// How it ended.
    #[n(1)]
    pub end: End,
    /// Microseconds from forwarding to the answer.
    #[n(2)]
    pub upstream_us: Option<u64>,
    /// Size of the result as it came, in bytes.
    #[n(3)]
    pub result_bytes: Option<u64>,
    /// Hash of the result's bytes.
    #[n(4)]
    pub result_hash: Option<Hash128>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum End {
    /// A result.
    #[n(0)]
    Ok,
    /// A result with `isError: true`.
    #[n(1)]
    ToolError,
    /// A JSON-RPC error: the call never reached the tool.
    #[n(2)]
    RpcError,
    /// It could not be sent.
    #[n(3)]
    Unreachable,
    /// No answer in time.
    #[n(4)]
    Timeout,
    /// The client gave it up.
    #[n(5)]
    Cancelled,
    /// The server went away after the call was sent.
    #[n(6)]
    Lost,
}

impl Event {
    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        crate::encode_event(self.seq, self.ts_us, &crate::BodyRef::Other(&self.body), &mut bytes);
        bytes
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// Where the bytes aren't one event, with the decoder's reason.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let event = decoder.decode().map_err(|error| error.to_string())?;
        if decoder.position() != bytes.len() {
            return Err(format!("{} bytes follow the event", bytes.len() - decoder.position()));
        }
        Ok(event)
    }
}

/// The words that stand for these in columns, SQL and messages.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// The word in columns and SQL.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value that the word stands for.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(Judge { Engine = "engine", Gateway = "gateway", Import = "import" });
words!(Mode { Enforce = "enforce", Shadow = "shadow" });
words!(Verdict { Allow = "allow", Deny = "deny", Hold = "hold", Unknown = "unknown" });
words!(Kept { None = "none", Read = "read", Full = "full" });
words!(End {
    Ok = "ok", ToolError = "tool_error", RpcError = "rpc_error", Unreachable = "unreachable",
    Timeout = "timeout", Cancelled = "cancelled", Lost = "lost",
});

macro_rules! hex_text {
    ($name:ident) => {
        /// Lower-case hexadecimal.
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(const_hex::Buffer::<_>::new().format(&self.0))
            }
        }

        impl $name {
            /// Reads hexadecimal digits of exactly this length.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                crate::from_hex(text.as_bytes()).map(Self)
            }
        }
    };
}

hex_text!(PolicyHash);
hex_text!(Hash128);
