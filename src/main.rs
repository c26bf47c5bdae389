//! The `publish-variants` binary.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use publish_variants::action::{Environment, Folder};
use publish_variants::cli::{Cli, Command, Format};
use publish_variants::error::Failure;
use publish_variants::matrix;
use publish_variants::plan::Plan;

fn main() -> ExitCode {
    let environment = Environment::of_process();
    let workspace = Folder(environment.get("GITHUB_WORKSPACE").unwrap_or(".").into());
    let Some(command) = Cli::parse().chosen(&environment) else {
        let _ = Cli::command().print_help();
        return ExitCode::from(2);
    };
    let printed = match command {
        Command::Schema => Ok(serde_json::to_string_pretty(&matrix::schema()).expect("a schema is JSON")),
        Command::Plan { options, format } => {
            Plan::read(&options, &environment, &workspace).map_err(Failure::from).map(|(plan, ..)| match format {
                Format::Table => plan.to_table(),
                Format::Json => plan.to_json(),
                Format::GithubMatrix => plan.to_github_matrix(),
            })
        }
        Command::Publish { options } => {
            Plan::read(&options, &environment, &workspace).map_err(Failure::from).map(|(plan, ..)| plan.to_table())
        }
    };
    match printed {
        // Who reads the output may have had enough of it.
        Ok(text) => {
            writeln!(std::io::stdout(), "{}", text.trim_end()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
