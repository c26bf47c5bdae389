//! The command line.

use std::collections::BTreeSet;

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::action::log::Verbosity;
use crate::action::options::NOT_IN_A_PLAN;
use crate::action::{Environment, Options};

/// Publish variants of a tool's scratch image: the same executables on many bases, in one step.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Every option is also read from the variable that GitHub sets for the action's input of the same name: \
                  --dry-run from INPUT_DRY-RUN or INPUT_DRY_RUN. Options take precedence.\n\n\
                  In GitHub Actions, the command is `publish` if none is given."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Print what would be published, without asking a registry, GitHub or an engine
    #[command(after_help = "The options of `publish` that don't change a plan are accepted, too.")]
    Plan {
        /// The inputs, as options.
        #[command(flatten)]
        options: Box<Options>,
        /// How to print it
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
        /// Take the inputs from the step of this workflow that uses the action. Options override them
        #[arg(long, value_name = "FILE")]
        workflow: Option<String>,
        /// Which step of the workflow, by its id, its name or its job, if several use the action
        #[arg(long, value_name = "STEP", requires = "workflow")]
        step: Option<String>,
    },
    /// Build the variants, verify them, publish them
    Publish {
        /// The inputs, as options.
        #[command(flatten)]
        options: Box<Options>,
        /// How much is said.
        #[command(flatten)]
        verbosity: VerbosityOptions,
    },
    /// Print the JSON Schema of a matrix file
    Schema,
    /// Print a script that completes this command line in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// How much is to be said.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct VerbosityOptions {
    /// Log nothing but errors, warnings and the outcome
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Log a line for every platform and every tag
    #[arg(short, long)]
    verbose: bool,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    #[default]
    Table,
    /// JSON, with every detail
    Json,
    /// A job matrix for a workflow, as one line of JSON
    GithubMatrix,
    /// A list of bases and tags, for a page about the images
    Markdown,
}

impl Command {
    /// How much is to be said. A job that is run again
    /// [with debug logging](https://docs.github.com/en/actions/how-tos/monitor-workflows/enable-debug-logging) says everything.
    #[must_use]
    pub fn verbosity(&self, environment: &Environment) -> Verbosity {
        match self {
            Self::Publish { verbosity: VerbosityOptions { quiet: true, .. }, .. } => Verbosity::Quiet,
            Self::Publish { verbosity: VerbosityOptions { verbose: true, .. }, .. } => Verbosity::Verbose,
            _ if environment.get("RUNNER_DEBUG") == Some("1") => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }
}

impl Cli {
    /// The command line as it is offered: `plan` without the options that don't change a plan.
    #[must_use]
    pub fn offered() -> clap::Command {
        Self::command().mut_subcommand("plan", |plan| {
            plan.mut_args(|option| {
                let is_hidden = option.get_long().is_some_and(|name| NOT_IN_A_PLAN.contains(&name));
                option.hide(is_hidden)
            })
        })
    }

    /// The script that completes it in `shell`.
    #[must_use]
    pub fn completions(shell: Shell) -> String {
        let mut script = Vec::new();
        // Hidden options would be completed, too.
        let mut offered = Self::offered().mut_subcommand("plan", |plan| {
            let options = plan.get_arguments().filter(|option| !option.is_hide_set()).cloned();
            clap::Command::new("plan")
                .about(plan.get_about().cloned().unwrap_or_default())
                .args(options.collect::<Vec<_>>())
        });
        clap_complete::generate(shell, &mut offered, "publish-variants", &mut script);
        // The library spells a name with a hyphen in two ways: https://github.com/clap-rs/clap/issues/6421
        String::from_utf8_lossy(&script).replace("publish__subcmd__variants", "publish__variants")
    }

    /// Parses the command line, or ends the process with an error. Also returns the names of the inputs that were
    /// given.
    #[must_use]
    pub fn read() -> (Self, BTreeSet<String>) {
        let matches = Self::offered().get_matches();
        let given = matches.subcommand().map(|(_, options)| options).into_iter().flat_map(|options| {
            let is_written = |id: &&clap::Id| options.value_source(id.as_str()) == Some(ValueSource::CommandLine);
            options.ids().filter(is_written).map(|id| match id.as_str() {
                "file" => "matrix".to_owned(),
                id => id.replace('_', "-"),
            })
        });
        let given = given.collect();
        (Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()), given)
    }

    /// The command to run. `None` if none is given outside of GitHub Actions: then the help is shown.
    #[must_use]
    pub fn chosen(self, environment: &Environment) -> Option<Command> {
        self.command.or_else(|| {
            environment
                .is_action()
                .then(|| Command::Publish { options: Box::default(), verbosity: VerbosityOptions::default() })
        })
    }
}
