//! The build cache that a run leaves: what is there at its end and was not there at its beginning.
//!
//! BuildKit's records don't tell which build made them, so the records of other builds on the same engine, made in the
//! same time and not in use, go as well; they are but a cache.

use std::collections::{BTreeSet, HashMap};
use std::io;

use bollard::Docker;
use bollard::query_parameters::PruneBuildOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// An engine with many images may list more, and then the cache is left alone.
const LONGEST_LIST: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct BuildCache {
    host: String,
    docker: Docker,
    before: Option<BTreeSet<String>>,
}

impl BuildCache {
    pub(super) async fn remember(host: &str, docker: Docker) -> Self {
        Self { before: records(host).await.ok(), host: host.to_owned(), docker }
    }

    /// Removes the records that are new. Gives what is left of them.
    pub(super) async fn remove_new(self) -> Vec<String> {
        let (Some(before), Ok(now)) = (&self.before, records(&self.host).await) else {
            return vec!["build cache of this run".to_owned()];
        };
        // A record can't go before those that are built on it; a second round gets what the first could not.
        let mut new: Vec<&String> = now.difference(before).collect();
        for _ in 0..new.len() {
            let mut rest = Vec::new();
            for record in &new {
                let filters = HashMap::from([("id".to_owned(), vec![(*record).clone()])]);
                let options =
                    PruneBuildOptions { all: Some(true), filters: Some(filters), ..PruneBuildOptions::default() };
                let removed = self.docker.prune_build(Some(options)).await;
                if !removed.is_ok_and(|removed| removed.caches_deleted.is_some_and(|ids| ids.contains(record))) {
                    rest.push(*record);
                }
            }
            if rest.is_empty() || rest.len() == new.len() {
                break;
            }
            new = rest;
        }
        let left = records(&self.host).await.unwrap_or_default();
        left.difference(before).map(|record| format!("build cache `{record}`")).collect()
    }
}

/// The records of the build cache. The typed answer of the library has no place for those of engines before 1.52, so this asks
/// by itself, in HTTP/1.0, whose answers end with the connection.
async fn records(host: &str) -> io::Result<BTreeSet<String>> {
    const REQUEST: &[u8] = b"GET /v1.41/system/df?type=build-cache HTTP/1.0\r\nHost: docker\r\n\r\n";
    let mut answer = Vec::new();
    match host.split_once("://") {
        Some(("unix", path)) => {
            let mut stream = UnixStream::connect(path).await?;
            stream.write_all(REQUEST).await?;
            stream.take(LONGEST_LIST).read_to_end(&mut answer).await?;
        }
        _ => {
            let address = host.split_once("://").map_or(host, |(_, address)| address);
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(REQUEST).await?;
            stream.take(LONGEST_LIST).read_to_end(&mut answer).await?;
        }
    }
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(&[][..], |end| &answer[end + 4..]);
    let usage: serde_json::Value = serde_json::from_slice(body)?;
    let records = usage["BuildCache"].as_array().ok_or_else(|| io::Error::other("no list of the build cache"))?;
    Ok(records.iter().filter_map(|record| record["ID"].as_str()).map(str::to_owned).collect())
}
