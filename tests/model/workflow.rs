//! The workflow of a tool: the inputs of a run.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use publish_variants::image::Tag;
use publish_variants::plan::{Plan, PlanError};

use crate::given::Given;
use crate::versions::{Known, is_exact, render};

/// One workflow, which publishes any version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Workflow {
    /// The tool. Other tools may publish to the same repositories.
    pub(crate) tool: String,
    pub(crate) images: Vec<String>,
    pub(crate) variants: Vec<Row>,
    pub(crate) templates: Vec<String>,
    pub(crate) source_tags: Vec<String>,
    pub(crate) ignored: Vec<String>,
    /// `guard`, `always`, `never`.
    pub(crate) rolling: String,
    /// `keep`, `fail`, `replace`.
    pub(crate) on_conflict: String,
    pub(crate) scheme: String,
}

/// A variant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) base: String,
    pub(crate) entries: Vec<String>,
    /// Anything else that makes a different image.
    pub(crate) env: String,
    /// Whether it has `run` lines, so that its digest is known only after a build.
    pub(crate) run: bool,
}

/// Something with tags of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item<'a> {
    Variant(&'a Row),
    Source,
}

pub(crate) const TEMPLATES: [&str; 3] = ["{version}-{tag}", "{major}.{minor}-{tag}", "{tag}"];
pub(crate) const SOURCE_TAGS: [&str; 3] = ["{version}", "{major}.{minor}", "latest"];
pub(crate) const IMAGE: &str = "ghcr.io/acme/tool";
pub(crate) const OTHER_IMAGE: &str = "docker.io/acme/tool";

/// A workflow with these variants (`base` and its entries) that publishes to one repository.
pub(crate) fn workflow(variants: &[(&str, &[&str])]) -> Workflow {
    let row = |(base, entries): &(&str, &[&str])| Row {
        base: (*base).to_owned(),
        entries: owned(entries),
        env: String::new(),
        run: false,
    };
    Workflow {
        tool: "tool".to_owned(),
        images: vec![IMAGE.to_owned()],
        variants: variants.iter().map(row).collect(),
        templates: owned(&TEMPLATES),
        source_tags: Vec::new(),
        ignored: Vec::new(),
        rolling: "guard".to_owned(),
        on_conflict: "keep".to_owned(),
        scheme: "auto".to_owned(),
    }
}

pub(crate) fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// The origin of tags: templates, each with an entry.
type Made<'a> = Vec<(&'a str, &'a str)>;

/// The result of planning.
type Planned = Result<Rc<Plan>, Rc<PlanError>>;

impl Workflow {
    pub(crate) fn with_source(mut self) -> Self {
        self.source_tags = owned(&SOURCE_TAGS);
        self
    }

    pub(crate) fn templates(mut self, templates: &[&str]) -> Self {
        self.templates = owned(templates);
        self
    }

    pub(crate) fn ignoring(mut self, versions: &[&str]) -> Self {
        self.ignored = owned(versions);
        self
    }

    pub(crate) fn on_conflict(mut self, choice: &str) -> Self {
        choice.clone_into(&mut self.on_conflict);
        self
    }

    pub(crate) fn in_two_registries(mut self) -> Self {
        self.images = owned(&[IMAGE, OTHER_IMAGE]);
        self
    }

    /// The variants, then the source if it has tags, in the program's order.
    pub(crate) fn items(&self) -> Vec<Item<'_>> {
        let source = (!self.source_tags.is_empty()).then_some(Item::Source);
        self.variants.iter().map(Item::Variant).chain(source).collect()
    }

    /// The templates and entries of an item: the exact ones first, each with all entries.
    pub(crate) fn names<'a>(&'a self, item: Item<'a>) -> (Made<'a>, Made<'a>) {
        let (templates, entries) = self.templates_and_entries(item);
        let all = templates.iter().flat_map(|template| entries.iter().map(move |entry| (template.as_str(), *entry)));
        all.partition(|(template, _)| is_exact(template))
    }

    /// The rolling tags of the plan of a version.
    pub(crate) fn rolling_tags(&self, version: Known) -> BTreeSet<Tag> {
        let mut tags = BTreeSet::new();
        for item in self.items() {
            let (exact, rolling) = self.names(item);
            let all = |names: Made<'_>| -> BTreeSet<Tag> {
                names.into_iter().map(|(template, entry)| render(template, version, entry).parse().unwrap()).collect()
            };
            tags.extend(&all(rolling) - &all(exact));
        }
        tags
    }

    /// The templates of an item, and its entries.
    fn templates_and_entries<'a>(&'a self, item: Item<'a>) -> (&'a [String], Vec<&'a str>) {
        match item {
            Item::Variant(row) => (&self.templates, row.entries.iter().map(String::as_str).collect()),
            Item::Source => (&self.source_tags, vec![""]),
        }
    }

    /// The templates of an item that make tags of a single version.
    pub(crate) fn exact_templates<'a>(&'a self, item: Item<'a>) -> impl Iterator<Item = &'a str> {
        self.templates_and_entries(item).0.iter().map(String::as_str).filter(|template| is_exact(template))
    }

    /// The plan for a version, or why there is none.
    pub(crate) fn plan(&self, version: &str) -> Result<Rc<Plan>, Rc<PlanError>> {
        thread_local! {
            static PLANS: RefCell<HashMap<(Workflow, String), Planned>> = RefCell::default();
        }
        let key = (self.clone(), version.to_owned());
        if let Some(plan) = PLANS.with_borrow(|plans| plans.get(&key).cloned()) {
            return plan;
        }
        let plan = self.given(version).read().map(|(plan, ..)| Rc::new(plan)).map_err(Rc::new);
        PLANS.with_borrow_mut(|plans| plans.insert(key, plan.clone()));
        plan
    }

    /// The inputs of a run.
    fn given(&self, version: &str) -> Given {
        Given::default()
            .input("version", version)
            .input("images", &self.images.join("\n"))
            .input("source", &format!("ghcr.io/acme-builds/{}", self.tool))
            .input("binaries", "/tool")
            .input("matrix", &self.matrix())
            .input("tag-templates", &self.templates.join("\n"))
            .input("source-tags", &self.source_tags.join("\n"))
            .input("ignore-versions", &self.ignored.join("\n"))
            .input("rolling", &self.rolling)
            .input("on-conflict", &self.on_conflict)
            .input("version-scheme", &self.scheme)
    }

    /// The matrix for the input: as lines if possible, which are parsed faster than YAML.
    fn matrix(&self) -> String {
        if self.variants.iter().all(|row| row.env.is_empty() && !row.run) {
            let lines = self.variants.iter().map(|row| format!("{},{}", row.base, row.entries.join(",")));
            return lines.collect::<Vec<_>>().join("\n");
        }
        let rows = self.variants.iter().map(|row| {
            let mut entry = serde_json::json!({ "base": row.base, "tags": row.entries });
            if !row.env.is_empty() {
                entry["env"] = serde_json::json!({ "MODE": row.env });
            }
            if row.run {
                entry["run"] = "apk add git".into();
            }
            entry
        });
        serde_json::Value::Array(rows.collect()).to_string()
    }
}
