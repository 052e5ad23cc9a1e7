//! The canonical bytes of calls and outcomes, written by hand: they are nearly all of a log's events, and as many small
//! calls of a library for each of them took a tenth of the time that a call takes. `minicbor` reads them, writes all
//! other events, and is what the tests hold this to.

use std::borrow::Cow;

use crate::record::{End, Hash128, Judge, Kept, Mode, Outcome, PolicyHash, Verdict};
use crate::{ArgsRef, FactRef, RecordRef};

const UINT: u8 = 0 << 5;
const NEGATIVE: u8 = 1 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const ARRAY: u8 = 4 << 5;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;

/// Numbers of [`crate::Body`]'s variants.
const DECISION: u64 = 2;
const OUTCOME: u64 = 3;

/// What has canonical bytes.
trait Canonical {
    /// Left out where nothing follows it.
    fn absent(&self) -> bool {
        false
    }

    fn write(&self, to: &mut Vec<u8>);
}

/// Adds the bytes of a call's event.
pub(crate) fn decision(to: &mut Vec<u8>, seq: u64, ts_us: Option<i64>, record: &RecordRef<'_>) {
    event(to, seq, ts_us, DECISION, record);
}

/// Adds the bytes of an outcome's event.
pub(crate) fn outcome(to: &mut Vec<u8>, seq: u64, ts_us: Option<i64>, outcome: &Outcome) {
    event(to, seq, ts_us, OUTCOME, outcome);
}

fn event(to: &mut Vec<u8>, seq: u64, ts_us: Option<i64>, number: u64, body: &impl Canonical) {
    head(to, ARRAY, 3);
    seq.write(to);
    ts_us.write(to);
    head(to, ARRAY, 2);
    number.write(to);
    head(to, ARRAY, 1);
    body.write(to);
}

/// Writes an array of all fields, given in the order of their numbers, up to the last one that is there.
macro_rules! fields {
    ($of:expr, $to:expr, [$($field:ident),+ $(,)?]) => {{
        let Self { $($field),+ } = $of;
        let absent = [$(Canonical::absent($field)),+];
        let mut left = absent.iter().rposition(|absent| !absent).map_or(0, |last| last + 1);
        head($to, ARRAY, left as u64);
        $(
            if left > 0 {
                left -= 1;
                Canonical::write($field, $to);
            }
        )+
        debug_assert_eq!(left, 0, "fields that were not written");
    }};
}

impl Canonical for RecordRef<'_> {
    fn write(&self, to: &mut Vec<u8>) {
        fields!(
            self,
            to,
            [
                judged_by,
                server,
                session,
                grant,
                agent,
                request_id,
                tool,
                args,
                policy,
                mode,
                verdict,
                reason,
                rule,
                message,
                limits,
                decide_ns,
                trace_id,
                label,
                shadow_rules,
                loop_period,
                loop_repeats,
                approval,
                category,
                continues,
            ]
        );
    }
}

impl Canonical for ArgsRef<'_> {
    fn write(&self, to: &mut Vec<u8>) {
        fields!(self, to, [kept, json, keys, hash, bytes]);
    }
}

impl Canonical for FactRef<'_> {
    fn write(&self, to: &mut Vec<u8>) {
        fields!(
            self,
            to,
            [
                counter,
                owner,
                scope,
                key,
                window_s,
                rolling,
                window_start_us,
                used_before_micros,
                amount_micros,
                max_micros,
                frees_at_us,
                shadow,
            ]
        );
    }
}

impl Canonical for Outcome {
    fn write(&self, to: &mut Vec<u8>) {
        fields!(self, to, [call_seq, end, upstream_us, result_bytes, result_hash]);
    }
}

/// The shortest head of an item.
#[inline(always)]
fn head(to: &mut Vec<u8>, kind: u8, value: u64) {
    let [.., low] = value.to_be_bytes();
    match value {
        0..24 => to.push(kind | low),
        24..=0xff => to.extend_from_slice(&[kind | 24, low]),
        _ => long_head(to, kind, value),
    }
}

fn long_head(to: &mut Vec<u8>, kind: u8, value: u64) {
    let bytes = value.to_be_bytes();
    let [.., a, b, c, d] = bytes;
    match value {
        0..=0xffff => to.extend_from_slice(&[kind | 25, c, d]),
        0x1_0000..=0xffff_ffff => to.extend_from_slice(&[kind | 26, a, b, c, d]),
        _ => {
            to.push(kind | 27);
            to.extend_from_slice(&bytes);
        }
    }
}

impl Canonical for u64 {
    #[inline(always)]
    fn write(&self, to: &mut Vec<u8>) {
        head(to, UINT, *self);
    }
}

impl Canonical for u32 {
    fn write(&self, to: &mut Vec<u8>) {
        head(to, UINT, u64::from(*self));
    }
}

impl Canonical for i64 {
    #[inline(always)]
    fn write(&self, to: &mut Vec<u8>) {
        let (kind, value) = if *self < 0 { (NEGATIVE, !*self) } else { (UINT, *self) };
        head(to, kind, value.unsigned_abs());
    }
}

impl Canonical for bool {
    fn write(&self, to: &mut Vec<u8>) {
        to.push(if *self { TRUE } else { FALSE });
    }
}

impl Canonical for &str {
    #[inline(always)]
    fn write(&self, to: &mut Vec<u8>) {
        head(to, TEXT, self.len() as u64);
        to.extend_from_slice(self.as_bytes());
    }
}

impl Canonical for Cow<'_, str> {
    fn write(&self, to: &mut Vec<u8>) {
        Canonical::write(&&**self, to);
    }
}

impl Canonical for Hash128 {
    fn write(&self, to: &mut Vec<u8>) {
        head(to, BYTES, 16);
        to.extend_from_slice(&self.0);
    }
}

impl Canonical for PolicyHash {
    fn write(&self, to: &mut Vec<u8>) {
        head(to, BYTES, 32);
        to.extend_from_slice(&self.0);
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn absent(&self) -> bool {
        self.is_none()
    }

    #[inline(always)]
    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(to),
            None => to.push(NULL),
        }
    }
}

impl<T: Canonical> Canonical for Vec<T> {
    fn write(&self, to: &mut Vec<u8>) {
        head(to, ARRAY, self.len() as u64);
        self.iter().for_each(|value| value.write(to));
    }
}

/// Writes the number that a word has in [`crate::record`].
macro_rules! words {
    ($($word:ident { $($variant:ident = $number:literal),+ })+) => {
        $(impl Canonical for $word {
            fn write(&self, to: &mut Vec<u8>) {
                to.push(match self { $(Self::$variant => $number),+ });
            }
        })+
    };
}

words! {
    Judge { Engine = 0, Gateway = 1, Import = 2 }
    Mode { Enforce = 0, Shadow = 1 }
    Verdict { Allow = 0, Deny = 1, Hold = 2, Unknown = 3 }
    Kept { None = 0, Read = 1, Full = 2 }
    End { Ok = 0, ToolError = 1, RpcError = 2, Unreachable = 3, Timeout = 4, Cancelled = 5, Lost = 6 }
}

#[cfg(test)]
mod tests {
    use crate::{Body, Event, Judge, Outcome, Record};

    use super::*;

    fn check(event: &Event) {
        assert_eq!(event.to_bytes(), minicbor::to_vec(event).unwrap(), "{event:?}");
    }

    /// Where an item's head gets longer. Whole events are held to `minicbor` where they go through Parquet.
    #[test]
    fn heads_are_as_short_as_they_can_be() {
        for edge in [0, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, i64::MAX as u64, u64::MAX] {
            let outcome = Outcome {
                call_seq: edge,
                end: End::Lost,
                upstream_us: None,
                result_bytes: Some(edge),
                result_hash: None,
            };
            let ts_us = Some(edge.cast_signed());
            check(&Event { seq: edge, ts_us, body: Body::Outcome(outcome) });
            let short = usize::try_from(edge).unwrap().min(65_536);
            let mut record = Record::new(Judge::Engine, "s".repeat(short));
            record.loop_period = u32::try_from(edge).ok();
            record.shadow_rules = vec![String::new(); short.min(256)];
            check(&Event { seq: 0, ts_us: ts_us.map(|ts_us| !ts_us), body: Body::Decision(Box::new(record)) });
        }
    }
}
