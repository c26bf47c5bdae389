//! The command line.

use std::collections::BTreeSet;

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::action::{Environment, Options};

/// Publish variants of a tool's scratch image: the same executables on many bases, in one step.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Every option is also read from the variable that GitHub sets for the action's input of the same name: \
                  --dry-run from INPUT_DRY-RUN. Options count more.\n\n\
                  In GitHub Actions, the command is `publish` where none is given."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Print what would be published, without asking a registry, GitHub or an engine
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
    },
    /// Print the JSON Schema of a matrix file
    Schema,
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
}

impl Cli {
    /// Parses the command line, or ends the process with an error. Also returns the names of the inputs that were
    /// given.
    #[must_use]
    pub fn read() -> (Self, BTreeSet<String>) {
        let matches = Self::command().get_matches();
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
        self.command.or_else(|| environment.is_action().then(|| Command::Publish { options: Box::default() }))
    }
}
