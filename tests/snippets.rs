//! The examples in the documentation work: each workflow, step, matrix and command results in a plan, or a comment above
//! it says which test runs it, or why no test does.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use publish_variants::action::Options;
use serde_json::{Map, Value, json};
use support::{parts, runner};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const MATRIX: &str = "alpine:3.23,alpine3.23,alpine\ndebian:trixie-slim,trixie-slim,debian-slim\n";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// Languages of blocks that show output.
const OUTPUT: [&str; 5] = ["text", "html", "console", "markdown", "mermaid"];

/// A code block.
#[derive(Debug)]
struct Block {
    /// The page and the line, as `docs/tags.md:1`.
    place: String,
    language: String,
    text: String,
    /// The text of the HTML comment on the line above.
    comment: String,
}

/// How a block was tried.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tried {
    Here,
    ElsewhereBy(String),
    NotRun(String),
    Output,
}

fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| Path::new(ROOT).join(name)));
    pages.sort();
    pages
}

/// The code blocks of a page, without the indentation of the list that they may be in. Blocks in quotations are left
/// out: they show output.
fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let name = page.strip_prefix(ROOT).unwrap().display();
    let (mut blocks, mut open, mut above) = (Vec::new(), None::<(Block, usize)>, "");
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(language)) => {
                let comment = above.trim().strip_prefix("<!--").and_then(|text| text.strip_suffix("-->"));
                let block = Block {
                    place: format!("{name}:{}", number + 1),
                    language: language.to_owned(),
                    text: String::new(),
                    comment: comment.unwrap_or_default().trim().to_owned(),
                };
                open = Some((block, line.len() - line.trim_start().len()));
            }
            (Some(_), Some(_)) => blocks.extend(open.take().map(|(block, _)| block)),
            (Some((block, indent)), None) => {
                block.text += line.get(*indent..).unwrap_or_default();
                block.text.push('\n');
            }
            (None, None) => above = line,
        }
    }
    assert!(open.is_none(), "{name}: a block isn't closed");
    blocks
}

impl Block {
    fn is_tried(&self) -> Result<Tried, String> {
        if let Some(reason) = self.comment.strip_prefix("not run: ") {
            return Ok(Tried::NotRun(format!("{}: {reason}", self.place)));
        }
        if let Some(test) = self.comment.strip_prefix("run by ") {
            let text = fs::read_to_string(Path::new(ROOT).join(test)).map_err(|error| format!("{test}: {error}"))?;
            let page = self.place.split(':').next().unwrap_or_default();
            let reads = text.contains(page);
            return if reads {
                Ok(Tried::ElsewhereBy(test.into()))
            } else {
                Err(format!("{test} doesn't read {page}"))
            };
        }
        match self.language.as_str() {
            "yaml" => yaml(&self.text)?,
            "json" => drop(serde_json::from_str::<Value>(&self.text).map_err(|error| error.to_string())?),
            "sh" => sh(&self.text)?,
            language if OUTPUT.contains(&language) => return Ok(Tried::Output),
            language => return Err(format!("nothing here tries `{language}`")),
        }
        Ok(Tried::Here)
    }
}

/// A folder with the files that the examples mention.
fn workspace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["variants.yml", ".gitlab/variants.yml", ".github/variants.yml"] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, MATRIX).unwrap();
    }
    folder
}

fn succeeded(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stdout) + &text(&output.stderr)) }
}

/// Replaces each expression, which is known only when a workflow runs, by a value of its kind.
fn with_values(text: &str) -> String {
    let mut parts = text.split("${{");
    let mut done = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (expression, rest) = part.split_once("}}").unwrap_or((part, ""));
        done += if expression.contains("digest") { DIGEST } else { "0.9.26" };
        done += rest;
    }
    done.replace("sha256:…", DIGEST)
}

/// Tries a YAML text as what its keys show it to be: a workflow, steps, inputs, a matrix or keys of a variant.
fn yaml(text: &str) -> Result<(), String> {
    let value: Value = serde_saphyr::from_str(&with_values(text)).map_err(|error| error.to_string())?;
    let keys: Vec<&str> = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let known = Options::names();
    let are_inputs =
        value.as_object().is_some_and(|of| of.iter().all(|(key, of)| known.contains(key) && of.is_string()));
    let are_steps = value.as_array().is_some_and(|items| items.iter().any(|item| item.get("uses").is_some()));
    if keys.contains(&"jobs") {
        github_reads(text)?;
        workflow_is_a_plan(&with_values(text))
    } else if are_steps {
        let workflow = workflow_with(&value);
        github_reads(&workflow.replace("https://github.com/", ""))?;
        workflow_is_a_plan(&workflow)
    } else if !keys.is_empty() && keys.iter().all(|key| ["on", "concurrency", "permissions"].contains(key)) {
        let mut workflow: Map<String, Value> =
            serde_json::from_str(&workflow_with(&json!([{ "run": "true" }]))).unwrap();
        workflow.extend(value.as_object().cloned().unwrap_or_default());
        github_reads(&Value::Object(workflow).to_string())
    } else if value.is_null() {
        schema_is_there(text)
    } else if are_inputs {
        let step = json!([{ "uses": "astral-sh/publish-variants@v1", "with": value }]);
        workflow_is_a_plan(&workflow_with(&step))
    } else if value.is_string() || value.is_array() || keys.contains(&"variants") {
        matrix_is_a_plan(&with_values(text))
    } else {
        let mut variant = json!({ "base": "alpine:3.23", "tags": ["alpine3.23", "alpine"] });
        variant.as_object_mut().unwrap().extend(value.as_object().cloned().unwrap_or_default());
        matrix_is_a_plan(&json!({ "variants": [variant] }).to_string())
    }
}

/// A workflow with these steps. The inputs that a plan needs are added to the action's step.
fn workflow_with(steps: &Value) -> String {
    let mut steps = steps.clone();
    for step in steps.as_array_mut().unwrap() {
        let Some(with) = step.get_mut("with").and_then(Value::as_object_mut) else { continue };
        for (name, value) in [("binaries", "/uv /uvx"), ("images", "ghcr.io/astral-sh/uv"), ("matrix", "variants.yml")]
        {
            with.entry(name).or_insert_with(|| value.into());
        }
    }
    json!({ "on": "push", "jobs": { "variants": { "runs-on": "ubuntu-latest", "steps": steps } } }).to_string()
}

fn workflow_is_a_plan(workflow: &str) -> Result<(), String> {
    let folder = workspace();
    fs::write(folder.path().join("workflow.yml"), workflow).unwrap();
    let version = if workflow.contains("{sha}") { "sha-0123456" } else { "0.9.26" };
    planned(folder.path(), &["--workflow", "workflow.yml", "--version", version])
}

fn matrix_is_a_plan(matrix: &str) -> Result<(), String> {
    let folder = workspace();
    fs::write(folder.path().join("matrix.yml"), matrix).unwrap();
    let images = ["--binaries", "/uv /uvx", "--images", "ghcr.io/astral-sh/uv"];
    planned(folder.path(), &[&["--version", "0.9.26", "-f", "matrix.yml"], &images[..]].concat())
}

fn planned(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_publish-variants"));
    command.current_dir(folder).env_clear().args(["plan", "--format", "json"]).args(arguments);
    let plan: Value = serde_json::from_str(&succeeded(&command.output().unwrap())?).unwrap();
    let variants = plan["variants"].as_array().unwrap();
    if variants.is_empty() { Err("the plan has no variants".into()) } else { Ok(()) }
}

/// Checks GitHub's own keys with actionlint.
fn github_reads(workflow: &str) -> Result<(), String> {
    let Some(actionlint) = parts::tools().map(|tools| tools.join("actionlint")).filter(|program| program.exists())
    else {
        parts::skip("no actionlint");
        return Ok(());
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("workflow.yml");
    fs::write(&file, workflow).unwrap();
    let output =
        Command::new(actionlint).args(["-shellcheck=", "-pyflakes=", "-no-color"]).arg(&file).output().unwrap();
    succeeded(&output).map(drop)
}

/// Checks the first line of a matrix, which names the schema for editors.
fn schema_is_there(text: &str) -> Result<(), String> {
    let schema = text.trim().strip_prefix("# yaml-language-server: $schema=").ok_or("a comment alone")?;
    let is_there = schema.starts_with("https://") || Path::new(ROOT).join("docs").join(schema).is_file();
    if is_there { Ok(()) } else { Err(format!("`{schema}` isn't there")) }
}

/// Runs the commands, with `plan` in place of `publish`.
fn sh(text: &str) -> Result<(), String> {
    let commands = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (scripts, commands): (Vec<&str>, Vec<&str>) = commands.partition(|line| line.starts_with("scripts/"));
    for script in scripts {
        let path = Path::new(ROOT).join(script.split(' ').next().unwrap_or_default());
        if fs::metadata(&path).map_or(true, |file| file.permissions().mode() & 0o100 == 0) {
            return Err(format!("`{}` isn't a script", path.display()));
        }
    }
    if let Some(unknown) = commands.iter().find(|line| !line.contains("publish-variants ")) {
        return Err(format!("nothing here runs `{unknown}`"));
    }
    if commands.is_empty() {
        return Ok(());
    }
    let folder = workspace();
    let program = folder.path().join("publish-variants");
    let wrapper = format!(
        "#!/bin/sh\nif [ \"$1\" = publish ]; then shift; set -- plan \"$@\"; fi\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_publish-variants")
    );
    fs::write(&program, wrapper).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut shell = Command::new("/bin/sh");
    shell.current_dir(folder.path()).env_clear().env("PATH", folder.path()).args(["-eu", "-c", &commands.join("\n")]);
    if text.contains("$CI_") {
        shell.envs(runner::OF_GITLAB);
    }
    let printed = succeeded(&shell.output().unwrap())?;
    if printed.trim().is_empty() { Err("it prints nothing".into()) } else { Ok(()) }
}

#[test]
fn everything_that_is_shown_is_tried_or_says_why_not() {
    let blocks: Vec<Block> = pages().iter().flat_map(|page| blocks(page)).collect();
    let (mut tried, mut wrong) = (Vec::new(), Vec::new());
    for block in &blocks {
        match block.is_tried() {
            Ok(how) => tried.push(how),
            Err(why) => wrong.push(format!("{}: {why}\n{}", block.place, block.text)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let number = |is: fn(&Tried) -> bool| tried.iter().filter(|how| is(how)).count();
    let here = number(|how| *how == Tried::Here);
    let elsewhere = number(|how| matches!(how, Tried::ElsewhereBy(_)));
    let not_run: Vec<&Tried> = tried.iter().filter(|how| matches!(how, Tried::NotRun(_))).collect();
    println!("{here} are tried here, {elsewhere} by other tests, {} are not run: {not_run:#?}", not_run.len());
    assert!(here >= 30 && elsewhere >= 2, "{here} are tried here, {elsewhere} by other tests");
    assert!(not_run.len() * 4 <= here, "too many are not run: {not_run:#?}");
}

#[test]
fn a_snippet_that_is_wrong_is_found() {
    for (text, complaint) in [
        ("matrix: |\n  - { base: alpine }\n", "tags"),
        ("variants:\n  - { bse: alpine, tags: [alpine] }\n", "did you mean `base`"),
        ("verify: [{ comand: [true] }]\n", "comand"),
        ("- uses: astral-sh/publish-variants@v1\n  with: { image: x }\n", "image"),
        ("env: { A: b\n", ""),
        ("# nothing\n", "a comment alone"),
    ] {
        let found = yaml(text).unwrap_err();
        assert!(found.contains(complaint), "{text}{found}");
    }
    let misspelt = "on: push\njobs: { a: { runs-on: ubuntu-latest, setps: [{ run: make }] } }\n";
    if parts::tools().is_some() {
        assert!(github_reads(misspelt).unwrap_err().contains("setps"));
    }
    assert!(sh("curl example.org\n").unwrap_err().contains("nothing here runs `curl example.org`"));
    assert!(sh("publish-variants plan --verison 1.2.3\n").unwrap_err().contains("--version"));
    assert!(sh("scripts/none\n").is_err());
    let block = |comment: &str| Block {
        place: "docs/tags.md:1".into(),
        language: "toml".into(),
        text: String::new(),
        comment: comment.into(),
    };
    assert_eq!(block("").is_tried(), Err("nothing here tries `toml`".into()));
    assert_eq!(block("run by tests/plan.rs").is_tried(), Err("tests/plan.rs doesn't read docs/tags.md".into()));
    assert_eq!(block("not run: why").is_tried(), Ok(Tried::NotRun("docs/tags.md:1: why".into())));
}

/// The matrices in a YAML document: the document itself, or else the inputs `matrix` of its steps. Texts are parsed like
/// files.
fn matrices(document: &Value) -> Vec<Value> {
    let is_row = |row: &Value| {
        row.as_str().is_some_and(|line| line.contains(',')) || row["base"].is_string() || row["image"].is_string()
    };
    match document {
        Value::String(lines) if is_row(document) && !lines.contains(": ") => vec![document.clone()],
        Value::Array(rows) if rows.iter().any(is_row) => vec![document.clone()],
        // A job may be called `variants`, too.
        Value::Object(keys)
            if ["variants", "image-mapping", "include"]
                .iter()
                .any(|key| keys.get(*key).is_some_and(|rows| rows.is_array() || rows.is_string())) =>
        {
            vec![document.clone()]
        }
        Value::Object(keys) => {
            let inline = keys.get("matrix").and_then(Value::as_str).filter(|text| !text.contains("${{"));
            let inline = inline.and_then(|text| serde_saphyr::from_str(text).ok());
            let below = keys.iter().filter(|(name, _)| *name != "matrix").map(|(_, value)| value);
            inline.iter().chain(below).flat_map(matrices).collect()
        }
        Value::Array(items) => items.iter().flat_map(matrices).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_schema_takes_every_matrix_that_is_shown_and_every_fixture() {
    let schema = serde_json::to_value(publish_variants::matrix::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let keys_of_variant = schema.pointer("/$defs/VariantEntry/properties").and_then(Value::as_object).unwrap();
    let shown = pages().into_iter().flat_map(|page| blocks(&page)).filter(|block| block.language == "yaml");
    let mut texts: Vec<(String, String)> = shown.map(|block| (block.place, block.text)).collect();
    let pages = texts.len();
    for folder in ["tests/fixtures/matrix", "examples", ".github"] {
        let files = fs::read_dir(Path::new(ROOT).join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.is_file());
        texts.extend(files.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())));
    }
    let mut seen = (0, 0);
    for (number, (place, text)) in texts.iter().enumerate() {
        // Some blocks show only the lines that matter, which may not be a YAML document.
        let Ok(document) = serde_saphyr::from_str::<Value>(text) else { continue };
        // Some show only keys of a variant.
        let is_of_variant =
            document.as_object().is_some_and(|keys| keys.keys().all(|key| keys_of_variant.contains_key(key)));
        let found = if is_of_variant { vec![Value::Array(vec![document])] } else { matrices(&document) };
        for matrix in found {
            let problems: Vec<String> = validator.iter_errors(&matrix).map(|error| error.to_string()).collect();
            assert!(problems.is_empty(), "{place}: {problems:?}\n{matrix}");
            if number < pages {
                seen.0 += 1;
            } else {
                seen.1 += 1;
            }
        }
    }
    assert!(seen.0 >= 8 && seen.1 >= 12, "matrices of pages, and of files: {seen:?}");
    // The line for editors has the schema's own address.
    let docs = fs::read_to_string(Path::new(ROOT).join("docs/matrix.md")).unwrap();
    assert!(docs.contains(&format!("$schema={}\n", schema["$id"].as_str().unwrap())), "{}", schema["$id"]);
}
