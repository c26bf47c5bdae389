//! The `publish-variants` binary.

use std::io::Write as _;
use std::process::ExitCode;

use publish_variants::action::inputs;
use publish_variants::action::log::Log;
use publish_variants::action::step::Workflow;
use publish_variants::action::workflow::Level;
use publish_variants::action::{Environment, Folder, Options};
use publish_variants::cli::{Cli, Command, Format};
use publish_variants::error::Failure;
use publish_variants::hint::Reader;
use publish_variants::plan::Plan;
use publish_variants::report::outcome;
use publish_variants::{job, matrix, terminal};

fn main() -> ExitCode {
    let environment = Environment::of_process();
    let workspace = Folder::workspace(&environment);
    if !environment.is_action() {
        Reader::Terminal.settle();
    }
    let (cli, given) = Cli::read();
    let Some(command) = cli.chosen(&environment) else {
        let _ = Cli::offered().print_help();
        return ExitCode::from(2);
    };
    let log = Log::of_process(&environment, command.verbosity(&environment));
    let done = match command {
        Command::Schema => print(&serde_json::to_string_pretty(&matrix::schema()).expect("a schema is JSON")),
        Command::Completions { shell } => print(&Cli::completions(shell)),
        Command::Plan { options, format, workflow: None, .. } => plan(&options, format, &environment, &workspace, &log),
        Command::Plan { options, format, workflow: Some(path), step } => {
            let workflow = Workflow { path: &path, step: step.as_deref(), given: &given };
            let inputs = workflow.inputs(&environment, &workspace).map_err(Failure::from);
            inputs.and_then(|inputs| plan(&options, format, &inputs, &workspace, &log))
        }
        Command::Publish { options, .. } => publish(&options, &environment, &workspace, &log),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            log.annotate_at(
                Level::Error,
                "publish-variants",
                failure.place(),
                &format!("{failure}\nsee {}", failure.topic().link()),
            );
            ExitCode::from(failure.exit_code())
        }
    }
}

fn plan(
    options: &Options,
    format: Format,
    environment: &Environment,
    workspace: &Folder,
    log: &Log,
) -> Result<ExitCode, Failure> {
    // If only the plan is printed, programs read the output: secrets are masked before an error, but not before a plan.
    let plan = Plan::read(options, environment, workspace).inspect_err(|_| {
        inputs::secrets(options, environment).iter().for_each(|secret| log.mask(secret));
    });
    let (plan, ..) = plan?;
    // Standard output is for the plan alone. The runner reads workflow commands from standard error, too.
    let log = if environment.is_action() { Log::workflow(std::io::stderr()) } else { log.clone() };
    plan.warnings.iter().for_each(|warning| log.warn(warning));
    print(&match format {
        Format::Table => plan.to_table(terminal::width(environment.get("COLUMNS"))),
        Format::Json => plan.to_json(),
        Format::GithubMatrix => plan.to_github_matrix(),
        Format::Markdown => plan.to_markdown(),
    })
}

fn publish(options: &Options, environment: &Environment, workspace: &Folder, log: &Log) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a process may have threads");
    let done = runtime.block_on(job::publish(options, environment, workspace, log));
    // Don't wait for a layer that a stopped run was still compressing.
    runtime.shutdown_background();
    let report = done?;
    log.conclude(&outcome::line(&report));
    Ok(ExitCode::SUCCESS)
}

/// A closed pipe (`| head`) ends the command quietly.
fn print(text: &str) -> Result<ExitCode, Failure> {
    Ok(writeln!(std::io::stdout(), "{}", text.trim_end()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}
