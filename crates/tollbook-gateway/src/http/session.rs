//! Which conversation a request belongs to.
//!
//! With `Mcp-Session-Id`, it is that one's: recorded as a keyed hash, because the id is a secret between client
//! and server. The key is the process's own and random, so the same id in two logs can't be told to be the same.
//! Without one, calls of a grant's client belong together until the client has been silent for a while. A
//! session id belongs to the grant that came with it first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::shares::Shares;
use crate::desk::{Connection, lock};
use crate::stdio::SharedDesk;

/// A connection that several requests share.
pub(crate) type SharedConnection = Arc<Mutex<Connection>>;

/// The conversations that are going on.
pub(crate) struct Sessions {
    desk: SharedDesk,
    key: [u8; 32],
    idle: Duration,
    table: Mutex<Table>,
}

struct Table {
    /// By server and session id.
    given: BTreeMap<(String, String), Given>,
    shares_of_given: Shares,
    /// By server, grant and the client's name.
    silent: BTreeMap<(String, String, String), Silent>,
    shares_of_silent: Shares,
    begun: u64,
    /// When the idle ones were last looked for.
    swept: Option<Instant>,
}

/// How often the idle ones are looked for. A request mustn't pay for all the conversations that there are.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// The same where room is wanted: whoever asks for more than there is asks again and again.
const SWEEP_FULL_EVERY: Duration = Duration::from_millis(100);

struct Given {
    grant: String,
    connection: SharedConnection,
    used: Instant,
}

struct Silent {
    session: String,
    /// What its process is spoken to through; over HTTP each request stands alone.
    connection: SharedConnection,
    used: Instant,
}

/// Why a request has no session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoSession {
    /// The id is another grant's.
    Foreign,
    /// There are as many as may be, or as many of the grant's.
    TooMany,
}

impl Sessions {
    pub fn new(desk: SharedDesk, key: [u8; 32], idle: Duration, most: usize) -> Self {
        let table = Table {
            given: BTreeMap::new(),
            shares_of_given: Shares::new(most),
            silent: BTreeMap::new(),
            shares_of_silent: Shares::new(most),
            begun: 0,
            swept: None,
        };
        Self { desk, key, idle, table: Mutex::new(table) }
    }

    /// The connection of the session with this id, which is taken up where it isn't known.
    pub fn given(&self, server: &str, grant: &str, id: &str) -> Result<SharedConnection, NoSession> {
        self.end_idle(SWEEP_EVERY.min(self.idle));
        let place = (server.to_owned(), id.to_owned());
        // Whether there is one and taking it up are one step, or requests that begin it at once would each have their own.
        let mut table = lock(&self.table);
        if !table.shares_of_given.has_room(grant) && !table.given.contains_key(&place) {
            drop(table);
            self.end_idle(SWEEP_FULL_EVERY);
            table = lock(&self.table);
        }
        if let Some(known) = table.given.get_mut(&place) {
            if known.grant != grant {
                return Err(NoSession::Foreign);
            }
            known.used = Instant::now();
            return Ok(Arc::clone(&known.connection));
        }
        if !table.shares_of_given.has_room(grant) {
            return Err(NoSession::TooMany);
        }
        table.shares_of_given.add(grant);
        let connection = Arc::new(Mutex::new(Connection::new(server, grant, &self.hashed(id))));
        let (grant, used) = (grant.to_owned(), Instant::now());
        table.given.insert(place, Given { grant, connection: Arc::clone(&connection), used });
        Ok(connection)
    }

    /// What the conversation of a client without a session id is called, and the connection that its requests to a
    /// process share.
    pub fn silent(&self, server: &str, grant: &str, client: &str) -> Result<(String, SharedConnection), NoSession> {
        self.end_idle(SWEEP_EVERY.min(self.idle));
        let place = (server.to_owned(), grant.to_owned(), client.to_owned());
        let mut table = lock(&self.table);
        if !table.shares_of_silent.has_room(grant) && !table.silent.contains_key(&place) {
            drop(table);
            self.end_idle(SWEEP_FULL_EVERY);
            table = lock(&self.table);
        }
        let now = Instant::now();
        if let Some(known) = table.silent.get_mut(&place)
            && now.duration_since(known.used) < self.idle
        {
            known.used = now;
            return Ok((known.session.clone(), Arc::clone(&known.connection)));
        }
        if !table.silent.contains_key(&place) {
            if !table.shares_of_silent.has_room(grant) {
                return Err(NoSession::TooMany);
            }
            table.shares_of_silent.add(grant);
        }
        table.begun += 1;
        let session = self.hashed(&format!("{grant} {client} {}", table.begun));
        let connection = Arc::new(Mutex::new(Connection::new(server, grant, &session)));
        let silent = Silent { session: session.clone(), connection: Arc::clone(&connection), used: now };
        table.silent.insert(place, silent);
        Ok((session, connection))
    }

    /// The client has ended its session.
    pub fn end(&self, server: &str, id: &str) {
        let ended = {
            let mut table = lock(&self.table);
            let ended = table.given.remove(&(server.to_owned(), id.to_owned()));
            ended.iter().for_each(|ended| table.shares_of_given.remove(&ended.grant));
            ended
        };
        if let Some(ended) = ended {
            lock(&self.desk).client_gone(&mut lock(&ended.connection));
        }
    }

    /// Conversations that are going on.
    pub fn open(&self) -> usize {
        self.end_idle(Duration::ZERO);
        let table = lock(&self.table);
        table.given.len() + table.silent.len()
    }

    /// Ends those that nobody has used for a while, and that no request is using now. Looks for them no more often
    /// than this.
    fn end_idle(&self, every: Duration) {
        let mut gone = Vec::new();
        {
            let mut table = lock(&self.table);
            let now = Instant::now();
            if table.swept.is_some_and(|swept| now.duration_since(swept) < every) {
                return;
            }
            table.swept = Some(now);
            let Table { given, shares_of_given, silent, shares_of_silent, .. } = &mut *table;
            silent.retain(|(_, grant, _), silent| {
                let stays = now.duration_since(silent.used) < self.idle;
                if !stays {
                    shares_of_silent.remove(grant);
                }
                stays
            });
            given.retain(|_, given| {
                let stays = now.duration_since(given.used) < self.idle || Arc::strong_count(&given.connection) > 1;
                if !stays {
                    shares_of_given.remove(&given.grant);
                    gone.push(Arc::clone(&given.connection));
                }
                stays
            });
        }
        for connection in gone {
            lock(&self.desk).client_gone(&mut lock(&connection));
        }
    }

    /// 128 bits of a keyed hash, hashed twice so that nobody can go on from it.
    fn hashed(&self, id: &str) -> String {
        let inner = Sha256::new().chain_update(self.key).chain_update(id).finalize();
        let outer = Sha256::new().chain_update(self.key).chain_update(inner).finalize();
        outer.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests;
