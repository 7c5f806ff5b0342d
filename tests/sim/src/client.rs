//! What a host makes of the store: retries until there is an answer, and after an unknown outcome of a create it looks whose object is there.

use crate::clockwork::HostId;
use crate::mutation::Mutation;
use crate::store::{Bytes, Lost, Op, Reply};
use crate::world::Sim;
use reprise_core::checkpoint::paths;
use reprise_core::ids::Generation;

/// Longest wait before the next attempt, in milliseconds.
const BACKOFF_MS_MAX: u64 = 400;

/// The store, as one host sees it.
#[derive(Clone)]
pub struct Client {
    sim: Sim,
    host: HostId,
}

/// What a create found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It was absent; it holds our bytes now.
    New,
    /// It is somebody else's.
    Exists,
}

impl Client {
    /// The client of a host.
    #[must_use]
    pub fn new(sim: &Sim, host: HostId) -> Self {
        Self { sim: sim.clone(), host }
    }

    async fn wait(&self, attempt: &mut u32) {
        *attempt += 1;
        let longest = (10 << (*attempt).min(6)).min(BACKOFF_MS_MAX);
        self.sim.pause(longest / 2, longest).await;
    }

    async fn until_answered(&self, op: Op) -> Reply {
        let mut attempt = 0;
        loop {
            match self.sim.request(self.host, op.clone()).await {
                Ok(reply) => return reply,
                Err(Lost) => self.wait(&mut attempt).await,
            }
        }
    }

    /// Creates an object if it is absent.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Created {
        let (mut unknown, mut attempt) = (false, 0);
        loop {
            match self.sim.request(self.host, Op::Put(path.to_owned(), bytes.clone())).await {
                Ok(Reply::Put(true)) => return Created::New,
                Ok(_) => {}
                Err(Lost) => unknown = true,
            }
            if unknown && self.sim.is_broken(Mutation::UnknownCountsAsNew) {
                return Created::New;
            }
            match self.sim.request(self.host, Op::Get(path.to_owned())).await {
                Ok(Reply::Got(Some(found))) => return if unknown && found == bytes { Created::New } else { Created::Exists },
                Ok(_) | Err(Lost) => self.wait(&mut attempt).await,
            }
        }
    }

    /// Reads an object.
    pub async fn get(&self, path: &str) -> Option<Bytes> {
        match self.until_answered(Op::Get(path.to_owned())).await {
            Reply::Got(found) => found,
            _ => None,
        }
    }

    /// Lists a page of a folder, in the order of names after this one, and whether there are more.
    pub async fn page(&self, folder: &str, after: Option<String>) -> (Vec<String>, bool) {
        match self.until_answered(Op::List(folder.to_owned(), after)).await {
            Reply::Names(page, more) => (page, more),
            _ => (Vec::new(), false),
        }
    }

    /// Lists a folder, in the order of names, page by page.
    pub async fn list(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let (page, more) = self.page(folder, names.last().cloned()).await;
            names.extend(page);
            if !more {
                return names;
            }
        }
    }

    /// Deletes an object.
    pub async fn delete(&self, path: &str) {
        self.until_answered(Op::Delete(path.to_owned())).await;
    }

    /// The newest generation that anybody claimed; 0 where nobody did.
    pub async fn newest_claim(&self) -> Generation {
        let names = self.list(paths::GENERATIONS).await;
        names.iter().filter_map(|name| paths::claim_generation(name)).max().unwrap_or(Generation(0))
    }
}
