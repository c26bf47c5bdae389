//! The build cache, record by record.

use serde_json::{Value, json};

use super::http::Http;
use super::{EngineError, Shared};

/// What BuildKit calls records that have no step of a Dockerfile to be named after, in all of its versions so far: a
/// base's layers, the context and its unpacking, and (up to Docker 20.10) what `COPY` made.
const ANONYMOUS: [&str; 3] = ["", "fileop target", "copy /context /"];
const ANONYMOUS_PREFIXES: [&str; 2] = ["from local", "http url http://buildkit-session/"];

/// The step whose layer all variants share, by [`Record::mentions`]: one for each platform.
const SHARED_LAYER: &str = "] COPY --link ";

/// Which of the run's records to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// What later builds of the run have no use for.
    Finished,
    /// All.
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
    /// Removes the run's records that no build is using, and tells how many there were.
    pub(super) async fn prune(&self, extent: Extent) -> Result<usize, EngineError> {
        let mut unwanted = records(&self.http).await?;
        unwanted
            .retain(|record| self.is_ours(record) && (extent == Extent::Everything || !record.mentions(SHARED_LAYER)));
        if unwanted.is_empty() {
            return Ok(0);
        }
        // The filter takes one expression, not a list.
        let ids: Vec<&str> = unwanted.iter().map(|record| record.id.as_str()).collect();
        let filters = json!({ "id": [format!("\"^({})$\"", ids.join("|"))] }).to_string();
        let request = self.http.post("/build/prune", "remove build cache").query("all", "1").query("filters", filters);
        request.json().await?;
        Ok(unwanted.len())
    }

    /// Whether a record is of this run: it wasn't there before, and it says what our builds say or nothing at all.
    ///
    /// A stranger's nameless record of the same minutes can't be told from ours. At worst, layers that are in the
    /// engine anyway are looked up once more.
    fn is_ours(&self, record: &Record) -> bool {
        let description = record.description.as_str();
        !self.ledger.cache_before.contains(&record.id)
            && (record.mentions(&stage_prefix(&self.run))
                || ANONYMOUS.contains(&description)
                || ANONYMOUS_PREFIXES.iter().any(|prefix| description.starts_with(prefix))
                || self.ledger.mentioned(description))
    }
}

/// What the names of the run's build stages begin with; BuildKit puts it into descriptions.
pub(super) fn stage_prefix(run: &str) -> String {
    format!("pv-{run}-")
}

pub(super) async fn records(http: &Http) -> Result<Vec<Record>, EngineError> {
    let usage = http.get("/system/df", "list the build cache").query("type", "build-cache").json().await?;
    let record = |record: &Value| {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        Record { id: text("ID"), description: text("Description") }
    };
    Ok(usage["BuildCache"].as_array().into_iter().flatten().map(record).collect())
}
