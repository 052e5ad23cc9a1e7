//! What a gateway costs: the same calls to the same server, direct and through each thing that can stand between.
//!
//! `cargo build --release -p tollbook-cli --no-default-features`, then
//! `cargo run --release --manifest-path benches/peers/gateway/Cargo.toml`. Every subject is started once and stays;
//! rounds go over all of them in turn, so that what else the machine does falls on all alike. Each subject is a
//! process of its own, this program under another name for its part. `TOLLBOOK` names another binary, `ROUNDS` how
//! many rounds.

mod client;
mod relay;
mod round;
mod sdk;
mod server;
mod subject;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["server-stdio", tools] => server::stdio(tools.parse()?),
        ["server-http"] => runtime()?.block_on(server::http()),
        ["relay-stdio"] => relay::stdio(),
        ["relay-http", url] => runtime()?.block_on(relay::http(url)),
        ["sdk-stdio"] => runtime()?.block_on(sdk::stdio()),
        ["sdk-http", url] => runtime()?.block_on(sdk::http(url)),
        ["mcp-proxy", url] => runtime()?.block_on(sdk::mcp_proxy(url)),
        [] | ["--bench"] => round::all(&tollbook()?),
        other => bail!("cannot be {other:?}"),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// The program that is measured.
fn tollbook() -> anyhow::Result<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/release/tollbook");
    let named = std::env::var_os("TOLLBOOK").map_or(built, PathBuf::from);
    named.canonicalize().with_context(|| format!("build tollbook first: there is no `{}`", named.display()))
}
