//! How fast is a policy read, and put into the one style?
//!
//! The text is the fixtures of the language, one after the other under names of their own, up to a
//! megabyte. `parse` is lexer and parser, `compile` goes on to the policy; `layout` is the formatter
//! alone and `format` all of `tollbook fmt`: it parses first and compares the tokens after.

#![expect(clippy::expect_used, reason = "a bench that can't be set up fails where it stands")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tollbook_policy::{Target, format, layout, parse, read};

/// A policy of about a megabyte.
fn text() -> String {
    let block = include_str!("../fixtures/policy/accept/billing.toll");
    let more = include_str!("../fixtures/policy/accept/refunds.toll");
    let (_, billing) = block.split_once("default deny").expect("a header");
    let (_, refunds) = more.split_once("default deny").expect("a header");
    // One header, and groups of different names.
    let mut text = String::from("policy \"bench\"\n\ndefault deny\n");
    let mut number = 0;
    while text.len() < 1_000_000 {
        number += 1;
        text.push_str(
            &billing
                .replace("billing_", &std::format!("billing{number}_"))
                .replace("invoice", &std::format!("invoice{number}")),
        );
        text.push_str(&refunds.replace("create_refund", &std::format!("create_refund{number}")));
    }
    // `all tools` may stand only once with these limits.
    let (head, rest) = text.split_once("all tools {").expect("limits over all tools");
    let parts: Vec<&str> =
        rest.split("all tools {").map(|part| part.split_once("}\n").map_or(part, |(_, rest)| rest)).collect();
    std::format!("{head}{}", parts.join("\n"))
}

fn benches(criterion: &mut Criterion) {
    let text = text();
    assert!(read("p.toll", &text, Target::Native).is_ok(), "the text is a policy");
    let mut group = criterion.benchmark_group("policy");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.sample_size(20);
    group.bench_function("parse", |bencher| bencher.iter(|| parse(black_box(&text))));
    group
        .bench_function("compile", |bencher| bencher.iter(|| read("p.toll", black_box(&text), Target::Native).is_ok()));
    group.bench_function("layout", |bencher| bencher.iter(|| layout(black_box(&text))));
    group.bench_function("format", |bencher| bencher.iter(|| format(black_box(&text)).is_ok()));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
