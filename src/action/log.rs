//! The log of a run: one group per stage, one line per image, which begins with the reference.
//!
//! In a workflow, it consists of lines and [workflow commands](super::workflow) on standard output; at a terminal, of
//! plain lines with progress bars below them on standard error.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::environment::Environment;
use super::workflow::{self, Level};
use crate::credentials::Credential;
use crate::hint::Hinted as _;
use crate::image::Platform;
use crate::plan::{Place, Problem, Text};
use crate::secret::Secret;
use crate::terminal::{self, Colours};

/// Shorter tokens from token servers aren't masked: such a text (`t`, `anonymous`) can be guessed, so it protects
/// nothing, and masking it would make much of a log unreadable.
const SHORTEST_TOKEN: usize = 16;

/// The log of a run. Clones write to the same place, from any task.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    target: Target,
    colours: Colours,
    verbosity: Verbosity,
    /// Texts that are never shown, longest first.
    secrets: Vec<String>,
    group: Option<u64>,
    groups: u64,
    /// The title of a group without lines so far. It is written before the first line.
    title: Option<String>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors, warnings and the outcome.
    Quiet,
    /// A line for each image; lines that several images share are logged once.
    #[default]
    Normal,
    /// A line for each platform and each tag.
    Verbose,
}

enum Target {
    /// The runner of a workflow reads it.
    Workflow(Box<dyn Write + Send>),
    /// People read it in a file or a pipe.
    Plain(Box<dyn Write + Send>),
    /// People watch it at a terminal.
    Terminal(MultiProgress),
}

impl Log {
    /// The log of this process: workflow commands on standard output in a job, else text for people on standard
    /// error.
    #[must_use]
    pub fn of_process(environment: &Environment, verbosity: Verbosity) -> Self {
        let (target, colours) = match terminal::bars(environment.get("TERM")) {
            _ if environment.is_action() => (Target::Workflow(Box::new(io::stdout())), Colours::of_output()),
            Some(bars) => (Target::Terminal(bars), Colours::of_error()),
            None => (Target::Plain(Box::new(io::stderr())), Colours::of_error()),
        };
        Self::on(target, colours, verbosity)
    }

    /// A log for the runner of a workflow.
    #[must_use]
    pub fn workflow(out: impl Write + Send + 'static) -> Self {
        Self::on(Target::Workflow(Box::new(out)), Colours::default(), Verbosity::default())
    }

    /// A log for people, without colours or progress bars.
    #[must_use]
    pub fn plain(out: impl Write + Send + 'static) -> Self {
        Self::on(Target::Plain(Box::new(out)), Colours::default(), Verbosity::default())
    }

    fn on(target: Target, colours: Colours, verbosity: Verbosity) -> Self {
        let shared = Shared { target, colours, verbosity, secrets: Vec::new(), group: None, groups: 0, title: None };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Whether every platform and every tag gets a line.
    #[must_use]
    pub fn is_verbose(&self) -> bool {
        self.shared().verbosity == Verbosity::Verbose
    }

    /// Masks `secret` from now on, including its base64, percent-encoded and JSON forms, here and by the runner.
    pub fn mask(&self, secret: &Secret) {
        self.mask_all(forms(secret.expose()));
    }

    /// Masks a password like [`Self::mask`], and also the form in which it is sent: `user:password` in base64.
    pub fn mask_credential(&self, credential: &Credential) {
        let password = credential.password.expose();
        self.mask_all(forms(password));
        self.mask_all(base64_forms(&format!("{}:{password}", credential.username)));
    }

    /// Masks a token from a token server, which is sent in no other form.
    pub fn mask_token(&self, token: &Secret) {
        if token.expose().len() >= SHORTEST_TOKEN {
            self.mask_all(vec![token.expose().to_owned()]);
        }
    }

    fn mask_all(&self, forms: Vec<String>) {
        let mut shared = self.shared();
        for form in forms {
            if !shared.secrets.contains(&form) {
                if let Target::Workflow(out) = &mut shared.target {
                    // Not written by `line`, which would hide the secret from the runner as well.
                    let _ = writeln!(out, "{}", workflow::add_mask(&form));
                }
                shared.secrets.push(form);
            }
        }
        shared.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// `text` with `***` for every masked secret, for writing it elsewhere.
    #[must_use]
    pub fn redacted(&self, text: &str) -> String {
        self.shared().redacted(text)
    }

    /// Starts a stage. Its lines form a group, which ends when the value is dropped or the next group starts.
    pub fn group(&self, title: &str) -> Group {
        let mut shared = self.shared();
        shared.end_group();
        shared.groups += 1;
        let number = shared.groups;
        shared.group = Some(number);
        shared.title = Some(shared.redacted(&printable(title)));
        Group { log: self.clone(), number }
    }

    /// Logs `text`, line by line.
    pub fn line(&self, text: &str) {
        let mut shared = self.shared();
        if shared.verbosity != Verbosity::Quiet {
            shared.lines(text);
        }
    }

    /// Logs the outcome of the run, whatever the verbosity.
    pub fn conclude(&self, text: &str) {
        let mut shared = self.shared();
        shared.end_group();
        shared.lines(text);
    }

    /// Logs the outcome for an image: `ghcr.io/acme/tool:1.4-alpine  linux/arm64  3 mounted, 1 pushed`.
    pub fn image(&self, reference: &impl fmt::Display, platform: Option<&Platform>, outcome: &str) {
        let platform = platform.map_or_else(String::new, |platform| format!("{platform}  "));
        self.line(&format!("{reference}  {platform}{outcome}"));
    }

    /// Logs a message about the run as a whole, outside of any group.
    pub fn annotate(&self, level: Level, title: &str, message: &str) {
        self.annotate_at(level, title, None, message);
    }

    /// Logs a message about a place in the input. If that is in a file of the repository, GitHub shows the message there.
    pub fn annotate_at(&self, level: Level, title: &str, place: Option<&Place>, message: &str) {
        let mut shared = self.shared();
        // A group without lines hasn't begun yet, so the message comes before it.
        if shared.title.is_none() {
            shared.end_group();
        }
        let (title, message) = (shared.redacted(&printable(title)), shared.redacted(&printable(message)));
        let at = match place {
            Some(Place::Line { of: Text::File(path), line, column }) => {
                Some((shared.redacted(&printable(path.trim_start_matches("./"))), *line, *column))
            }
            _ => None,
        };
        let at = at.as_ref().map(|(path, line, column)| (path.as_str(), *line, *column));
        let text = match &shared.target {
            Target::Workflow(_) => workflow::annotation(level, &title, at, &message),
            Target::Plain(_) | Target::Terminal(_) => shared.for_people(level, &message),
        };
        shared.write(&text);
    }

    /// Logs a warning about the input.
    pub fn warn(&self, problem: &Problem) {
        self.annotate_at(Level::Warning, "publish-variants", Some(problem.place()), &problem.with_hints());
    }

    /// Shows a progress bar below the log, for `total` steps or bytes (0 while that isn't known). Only a terminal shows
    /// it.
    #[must_use]
    pub fn progress(&self, label: &str, total: u64) -> Progress {
        let mut shared = self.shared();
        if total > 0 {
            shared.begin_group();
        }
        let bar = match &shared.target {
            Target::Terminal(bars) if shared.verbosity != Verbosity::Quiet => {
                let style = ProgressStyle::with_template("{bar:24} {percent:>3} %  {elapsed:>3}  {wide_msg}")
                    .expect("a valid template");
                let bar = bars.add(ProgressBar::new(total).with_style(style));
                bar.set_message(shared.redacted(&printable(label)).replace('\n', " "));
                bar.enable_steady_tick(Duration::from_millis(200));
                bar
            }
            _ => ProgressBar::hidden(),
        };
        Progress { bar }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

/// The least of a secret, in characters, that is told from other words.
const PART_OF_SECRET: usize = 8;

/// `text` without the beginning of a secret at its end; `None` if there is none.
fn without_beginning_of<'a>(secret: &str, text: &'a str) -> Option<&'a str> {
    let ends = secret.char_indices().map(|(end, _)| end).skip(PART_OF_SECRET);
    ends.filter_map(|end| text.strip_suffix(&secret[..end])).last()
}

impl Shared {
    fn redacted(&self, text: &str) -> String {
        let redacted = self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"));
        // A quote may have been cut in the middle of a secret.
        let Some((cut_off, last)) = redacted.rsplit_once('…') else { return redacted };
        let mut without_cut = String::with_capacity(redacted.len());
        for part in cut_off.split('…') {
            let cut = self.secrets.iter().find_map(|secret| without_beginning_of(secret.as_str(), part));
            without_cut += &cut.map_or_else(|| format!("{part}…"), |part| format!("{part}***…"));
        }
        without_cut + last
    }

    /// A message at a terminal: its level and its hints are in colour.
    fn for_people(&self, level: Level, message: &str) -> String {
        let style = match level {
            Level::Error => terminal::ERROR,
            Level::Warning => terminal::WARNING,
            Level::Notice => terminal::HINT,
        };
        let lines = message.lines().map(|line| match line.trim_start().strip_prefix("hint: ") {
            Some(hint) => {
                let indent = &line[..line.len() - line.trim_start().len()];
                format!(
                    "{indent}{}{} {hint}",
                    self.colours.paint(terminal::HINT, "hint"),
                    self.colours.paint(terminal::TITLE, ":")
                )
            }
            None => line.to_owned(),
        });
        let (word, colon) = (self.colours.paint(style, level.as_str()), self.colours.paint(terminal::TITLE, ":"));
        format!("{word}{colon} {}", lines.collect::<Vec<_>>().join("\n"))
    }

    /// Writes the title of the group, unless it is there already.
    fn begin_group(&mut self) {
        let Some(title) = self.title.take().filter(|_| self.verbosity != Verbosity::Quiet) else { return };
        let title = self.colours.paint(terminal::TITLE, &title);
        match self.target {
            Target::Workflow(_) => self.write(&workflow::group(&title)),
            Target::Plain(_) | Target::Terminal(_) => self.write(&title),
        }
    }

    fn lines(&mut self, text: &str) {
        self.begin_group();
        // A secret may have several lines, so it is masked before the text is split into lines.
        for line in self.redacted(&printable(text)).lines() {
            match self.target {
                Target::Workflow(_) => self.write(&workflow::not_a_command(line)),
                Target::Plain(_) | Target::Terminal(_) if self.group.is_some() => self.write(&format!("  {line}")),
                Target::Plain(_) | Target::Terminal(_) => self.write(line),
            }
        }
    }

    fn end_group(&mut self) {
        let is_there = self.title.take().is_none() && self.verbosity != Verbosity::Quiet;
        if self.group.take().is_some() && is_there && matches!(self.target, Target::Workflow(_)) {
            self.write(workflow::END_GROUP);
        }
    }

    /// A log that can't be written is no reason to stop publishing.
    fn write(&mut self, line: &str) {
        let _ = match &mut self.target {
            Target::Workflow(out) | Target::Plain(out) => writeln!(out, "{line}").and_then(|()| out.flush()),
            Target::Terminal(bars) => bars.suspend(|| writeln!(io::stderr(), "{line}")),
        };
    }
}

/// The part of the log that belongs to a stage.
#[derive(Debug)]
#[must_use = "the group ends when this is dropped"]
pub struct Group {
    log: Log,
    number: u64,
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut shared = self.log.shared();
        if shared.group == Some(self.number) {
            shared.end_group();
        }
    }
}

/// A progress bar, which disappears when this is dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Advances the bar by one step.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// Sets the bar to `done` of `total`.
    pub fn at(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The forms in which a secret may appear: unchanged, line by line, in base64, percent-encoded and in JSON.
fn forms(secret: &str) -> Vec<String> {
    let lines = secret.lines().map(str::trim).filter(|line| line.len() >= 4 && *line != secret);
    let mut forms: Vec<String> = std::iter::once(secret).chain(lines).map(str::to_owned).collect();
    forms.extend(base64_forms(secret));
    forms.push(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect());
    forms.push(serde_json::Value::from(secret).to_string().trim_matches('"').to_owned());
    forms.retain(|form| !form.trim().is_empty());
    forms.sort();
    forms.dedup();
    forms
}

/// Base64 with both alphabets, with and without padding.
fn base64_forms(text: &str) -> Vec<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

    let mut forms = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].map(|base64| base64.encode(text)).to_vec();
    forms.sort();
    forms.dedup();
    forms
}

/// `text` without control characters, because it may come from an image under test.
fn printable(text: &str) -> String {
    text.replace("\r\n", "\n").chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '�' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn story(log: &Log) {
        {
            let _resolve = log.group("Resolve");
            log.image(&"docker.io/library/alpine:3.23", None, "2 platforms");
        }
        log.line("between");
        let _publish = log.group("Publish");
        log.image(&"ghcr.io/acme/tool:1.4-alpine", Some(&"linux/arm64".parse().unwrap()), "3 mounted, 1 pushed");
        log.line("from outside:\n::error::forged\r\n\u{1b}[31mred");
        log.progress("ghcr.io/acme/tool", 10).step();
        log.annotate(Level::Error, "Publication failed", "no\nhint: try again");
    }

    #[test]
    fn the_runner_gets_groups_and_commands() {
        let written = Written::default();
        story(&Log::workflow(written.clone()));
        assert_eq!(
            written.text(),
            "::group::Resolve\n\
             docker.io/library/alpine:3.23  2 platforms\n\
             ::endgroup::\n\
             between\n\
             ::group::Publish\n\
             ghcr.io/acme/tool:1.4-alpine  linux/arm64  3 mounted, 1 pushed\n\
             from outside:\n\
             : :error::forged\n\
             �[31mred\n\
             ::endgroup::\n\
             ::error title=Publication failed::no%0Ahint: try again\n"
        );
    }

    #[test]
    fn people_get_indented_lines() {
        let written = Written::default();
        story(&Log::plain(written.clone()));
        assert_eq!(
            written.text(),
            "Resolve\n\
             \x20 docker.io/library/alpine:3.23  2 platforms\n\
             between\n\
             Publish\n\
             \x20 ghcr.io/acme/tool:1.4-alpine  linux/arm64  3 mounted, 1 pushed\n\
             \x20 from outside:\n\
             \x20 ::error::forged\n\
             \x20 �[31mred\n\
             error: no\nhint: try again\n"
        );
    }

    #[test]
    fn a_group_ends_the_previous_one_and_itself_only_once() {
        let written = Written::default();
        let log = Log::workflow(written.clone());
        let first = log.group("first");
        log.line("in the first");
        drop(log.group("nothing is said in it"));
        drop(first);
        let first = log.group("nor in this one");
        let second = log.group("second");
        log.annotate(Level::Notice, "said", "before");
        drop(first);
        log.line("in the second");
        drop(second);
        let expected = "::group::first\nin the first\n::endgroup::\n::notice title=said::before\n::group::second\nin the second\n::endgroup::\n";
        assert_eq!(written.text(), expected);
    }

    #[test]
    fn secrets_are_masked_in_every_form_and_place() {
        let written = Written::default();
        let log = Log::workflow(written.clone());
        let secret = "pa%ss/w\"ord+1";
        log.mask(&Secret::new(secret).unwrap());
        log.mask(&Secret::new("pa%ss").unwrap());
        log.mask(&Secret::new("-----BEGIN KEY-----\nMIIEvQ\n-----END KEY-----").unwrap());
        let masks = written.text();
        assert!(masks.contains("::add-mask::pa%25ss/w\"ord+1\n"), "{masks}");
        written.0.lock().unwrap().clear();

        use base64::Engine as _;
        let everything = format!(
            "{secret} {} {} {} MIIEvQ",
            base64::engine::general_purpose::STANDARD.encode(secret),
            "pa%25ss%2Fw%22ord%2B1",
            serde_json::json!({ "p": secret })
        );
        log.line(&everything);
        let _group = log.group(&everything);
        log.line("x");
        log.annotate(Level::Warning, &everything, &everything);
        assert_eq!(
            written.text(),
            "*** *** *** {\"p\":\"***\"} ***\n\
             ::group::*** *** *** {\"p\":\"***\"} ***\n\
             x\n\
             ::endgroup::\n\
             ::warning title=*** *** *** {\"p\"%3A\"***\"} ***::*** *** *** {\"p\":\"***\"} ***\n"
        );
        assert_eq!(log.redacted(&format!("x{secret}y")), "x***y");
    }

    #[test]
    fn the_beginning_of_a_secret_in_a_quote_that_was_cut_is_masked() {
        let log = Log::workflow(Written::default());
        log.mask(&Secret::new("ghs_16C7e42F292c6912E7").unwrap());
        for (text, shown) in [
            ("`for the token ghs_16C7e42F292…`: `…ghs_16C7e…`", "`for the token ***…`: `…***…`"),
            ("ghs_16C… ghs_16C7e", "ghs_16C… ghs_16C7e"),
        ] {
            assert_eq!(log.redacted(text), shown);
        }
    }

    #[test]
    fn the_sent_form_of_a_password_is_masked_in_every_base64() {
        use base64::Engine as _;
        use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

        let written = Written::default();
        let log = Log::workflow(written.clone());
        let (username, password) = ("user~~", "p?>ss~~~w0rd");
        log.mask_credential(&Credential {
            registry: "ghcr.io".to_owned(),
            username: username.to_owned(),
            password: Secret::new(password).unwrap(),
        });
        let pair = format!("{username}:{password}");
        for text in [password, pair.as_str()] {
            for base64 in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].map(|base64| base64.encode(text)) {
                assert_eq!(log.redacted(&format!("Basic {base64} end")), "Basic *** end");
                assert!(written.text().contains(&format!("::add-mask::{base64}\n")), "{base64}");
            }
        }
        log.mask_token(&Secret::new("token-of-a-token-server").unwrap());
        assert_eq!(log.redacted("Bearer token-of-a-token-server"), "Bearer ***");
        log.mask_token(&Secret::new("t").unwrap());
        assert_eq!(log.redacted("Bearer t"), "Bearer t");
    }
}
