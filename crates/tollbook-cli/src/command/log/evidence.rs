//! `tollbook log keygen`, `verify`, `prove` and `check-proof`.

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

use anyhow::Context;
use tollbook_log::export;
use tollbook_log::proof::{self, Proof};
use tollbook_log::verify::{self, Evidence, Verdict, Verified};
use tollbook_log::{Head, PublicKey, Signer};

use crate::arguments::log::{CheckProof, Keygen, Prove, Verify};

pub fn keygen(arguments: &Keygen) -> anyhow::Result<ExitCode> {
    let signer = Signer::generate()?;
    signer.store(&arguments.output)?;
    crate::print(&format!("{}\n", signer.public()))?;
    Ok(ExitCode::SUCCESS)
}

pub fn verify(arguments: &Verify) -> anyhow::Result<ExitCode> {
    let keys = keys(&arguments.key)?;
    let mut heads = Vec::new();
    for path in &arguments.checkpoint {
        let note = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let head = Head::open(&note, &keys);
        heads.push(head.with_context(|| format!("`{}` isn't a head that is signed with this key", path.display()))?);
    }
    let verified = verify::verify(&arguments.log, &Evidence { keys, heads })?;
    crate::print(&told(&verified))?;
    Ok(match verified.verdict() {
        Verdict::Intact => ExitCode::SUCCESS,
        Verdict::Tampered => ExitCode::from(1),
        Verdict::Unchecked => ExitCode::from(2),
    })
}

fn told(verified: &Verified) -> String {
    let mut text = String::new();
    for fault in &verified.faults {
        let _ = writeln!(text, "tampered: {fault}");
    }
    for unchecked in &verified.unchecked {
        let _ = writeln!(text, "not checked: {unchecked}");
    }
    for instance in &verified.instances {
        let name = &instance.instance;
        match &instance.head {
            Some(head) => {
                let (events, files, number) = (instance.events, instance.files, head.number);
                let _ = writeln!(text, "{name} (number {number}): {events} events, {files} sealed files");
                let not_covered = instance.not_covered();
                if not_covered > 0 {
                    let first = head.size;
                    let _ =
                        writeln!(text, "  not covered yet: {not_covered} events from {first} on, after the last head");
                }
            }
            None => {
                let _ = writeln!(text, "{name}: {} events, no head that could be checked", instance.events);
            }
        }
    }
    text.push_str(match verified.verdict() {
        Verdict::Intact => "intact\n",
        Verdict::Tampered => "tampered\n",
        Verdict::Unchecked => "not all of it could be checked\n",
    });
    text
}

pub fn prove(arguments: &Prove) -> anyhow::Result<ExitCode> {
    let proof = proof::prove(&arguments.log, arguments.instance.as_deref(), arguments.seq)?;
    let mut json = serde_json::to_string_pretty(&proof).context("cannot write the proof")?;
    json.push('\n');
    let path = &arguments.output;
    fs::write(path, json).with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

pub fn check_proof(arguments: &CheckProof) -> anyhow::Result<ExitCode> {
    let path = &arguments.proof;
    let json = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let proof: Proof = serde_json::from_slice(&json).with_context(|| format!("`{}` isn't a proof", path.display()))?;
    match proof.check(&keys(&arguments.key)?) {
        Ok((event, head)) => {
            let (seq, instance, size) = (event.seq, &head.instance, head.size);
            crate::print(&format!("event {seq} of {instance} is in the log, as its head over {size} events says:\n"))?;
            crate::print(&export::to_json(instance, &event)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(fault) => {
            crate::print(&format!("not proven: {fault}\n"))?;
            Ok(ExitCode::from(1))
        }
    }
}

fn keys(texts: &[String]) -> anyhow::Result<Vec<PublicKey>> {
    Ok(texts.iter().map(|text| PublicKey::read(text)).collect::<Result<_, _>>()?)
}
