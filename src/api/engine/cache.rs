//! The engine's build cache, and removing the run's records from it.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::Http;
use super::{EngineError, Shared};

/// How BuildKit describes records that aren't named after a step of a Dockerfile, in all versions so far: a base's
/// layers, the context and its unpacking, and (up to Docker 20.10) the result of `COPY`.
const ANONYMOUS: [&str; 3] = ["", "fileop target", "copy /context /"];
const ANONYMOUS_PREFIXES: [&str; 2] = ["from local", "http url http://buildkit-session/"];

/// The step whose layer all variants share, in the form for [`Record::mentions`]: there is one for each platform.
const SHARED_LAYER: &str = "] COPY --link ";

/// How long listing the cache at the start of a run may take.
const LISTING: Duration = Duration::from_secs(20);

const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Which of the run's records to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Records that later builds of the run don't need.
    Finished,
    /// All records of the run.
    Everything,
}

/// A record of the build cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: String,
    description: String,
}

impl Record {
    fn mentions(&self, text: &str) -> bool {
        self.description.contains(text)
    }
}

impl Shared {
    /// Removes the run's records that no build is using, and returns them.
    pub(super) async fn prune(&self, extent: Extent) -> Result<Vec<Record>, EngineError> {
        if extent == Extent::Finished && self.ledger.cache_before.is_none() {
            // The engine is slow at listing its cache, so the records are removed once, at the end of the run.
            return Ok(Vec::new());
        }
        let mut unwanted = records(&self.http).await?;
        unwanted
            .retain(|record| self.is_ours(record) && (extent == Extent::Everything || !record.mentions(SHARED_LAYER)));
        if unwanted.is_empty() {
            return Ok(unwanted);
        }
        // The filter takes one expression instead of a list.
        let ids: Vec<&str> = unwanted.iter().map(|record| record.id.as_str()).collect();
        let filters = json!({ "id": [format!("\"^({})$\"", ids.join("|"))] }).to_string();
        let request = self.http.post("/build/prune", "remove build cache").query("all", "1").query("filters", filters);
        request.json().await?;
        Ok(unwanted)
    }

    /// Whether a record's description names the run.
    pub(super) fn is_named_ours(&self, record: &Record) -> bool {
        record.mentions(&stage_prefix(&self.run)) || self.ledger.mentioned(&record.description)
    }

    /// Whether a record belongs to this run: it wasn't there before, and its description is that of our builds or
    /// anonymous. If the earlier records aren't known, the description has to name the run.
    ///
    /// An anonymous record that another build makes during the run can't be told from ours. At worst, layers that are
    /// on the engine anyway are looked up once more.
    fn is_ours(&self, record: &Record) -> bool {
        let description = record.description.as_str();
        let Some(before) = &self.ledger.cache_before else { return self.is_named_ours(record) };
        !before.contains(&record.id)
            && (self.is_named_ours(record)
                || ANONYMOUS.contains(&description)
                || ANONYMOUS_PREFIXES.iter().any(|prefix| description.starts_with(prefix)))
    }
}

/// The prefix of the names of the run's build stages, which BuildKit includes in descriptions.
pub(super) fn stage_prefix(run: &str) -> String {
    format!("pv-{run}-")
}

/// The records before the run; `None` if the engine doesn't list them in time. Before API 1.42 the engine doesn't know
/// `type`, and also measures every image and volume, which takes minutes on a large host. The run starts nevertheless.
pub(super) async fn records_before(http: &Http) -> Option<HashSet<String>> {
    let records = tokio::time::timeout(LISTING, records(http)).await.ok()?.ok()?;
    Some(records.into_iter().map(|record| record.id).collect())
}

pub(super) async fn records(http: &Http) -> Result<Vec<Record>, EngineError> {
    let mut attempt = 1;
    let usage = loop {
        match http.get("/system/df", "list the build cache").query("type", "build-cache").json().await {
            // Docker 20.10 serves one client at a time.
            Err(EngineError::Request { cause, .. })
                if cause.message().contains("already running") && attempt < ATTEMPTS =>
            {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            answer => break answer?,
        }
    };
    let record = |record: &Value| {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        Record { id: text("ID"), description: text("Description") }
    };
    let mut records: Vec<Record> = usage["BuildCache"].as_array().into_iter().flatten().map(record).collect();
    records.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(records)
}
