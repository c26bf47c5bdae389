//! The build cache, record by record.

use serde_json::{Value, json};

use super::http::Http;
use super::{EngineError, Shared};

/// How often a prune is repeated: a record can only go after those that are made from it.
const PASSES: usize = 16;

/// A record of the build cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: String,
    description: String,
}

impl Record {
    pub(super) fn mentions(&self, text: &str) -> bool {
        self.description.contains(text)
    }
}

impl Shared {
    /// Removes the run's records that mention `text` (all of the run's, without one) and that no build is using, and tells
    /// how many it found.
    pub(super) async fn prune(&self, text: Option<&str>) -> Result<usize, EngineError> {
        let mut found = 0;
        let mut previous = Vec::new();
        for _ in 0..PASSES {
            let mut unwanted = records(&self.http).await?;
            unwanted.retain(|record| self.is_ours(record) && text.is_none_or(|text| record.mentions(text)));
            unwanted.sort_by(|a, b| a.id.cmp(&b.id));
            if unwanted.is_empty() || unwanted == previous {
                break;
            }
            found = found.max(unwanted.len());
            for record in &unwanted {
                let filters = json!({ "id": [record.id] }).to_string();
                let request = self.http.post("/build/prune", "remove build cache");
                request.query("all", "1").query("filters", filters).json().await?;
            }
            previous = unwanted;
        }
        Ok(found)
    }

    /// Whether a record is of this run: it wasn't there before, and says what only our builds say.
    pub(super) fn is_ours(&self, record: &Record) -> bool {
        if self.ledger.cache_before.contains(&record.id) {
            return false;
        }
        let bases = self.ledger.bases();
        record.mentions(&stage_prefix(&self.run)) || bases.keys().any(|base| record.mentions(&base.to_string()))
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
