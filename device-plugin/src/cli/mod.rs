//! The command line. Without a subcommand the plugin runs, as `sriov-network-device-plugin` does, and
//! that program's flags are taken as they are.

pub mod check;
pub mod run;

use clap::{CommandFactory, Parser, Subcommand};
pub use program::Exit;
use program::{LogArgs, completion};

const AFTER_HELP: &str = "\
Examples:
  device-plugin --config /etc/pcidp/config.json
  device-plugin check --config pools.yaml     # which devices each pool would hold here, and why not the others

Exit codes:
  0  done
  1  failed; standard error says what and what to do
  2  the command line or the configuration is wrong";

/// Advertises the virtual functions of this node to kubelet, in pools that are true.
#[derive(Debug, Parser)]
#[command(name = "device-plugin", version, after_help = AFTER_HELP, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// How to run.
    #[command(flatten)]
    pub run: run::Args,

    /// What is logged, and how.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a configuration against this node: each pool's devices, and why the others are left out.
    Check(check::Args),
    /// Print a completion script for a shell.
    Completion(completion::Args),
}

impl Cli {
    /// Does what is asked.
    ///
    /// # Errors
    /// When it failed.
    pub fn run(&self) -> Result<Exit, CommandError> {
        match &self.command {
            None => Ok(run::run(&self.run)?),
            Some(Command::Check(args)) => Ok(check::run(args)?),
            Some(Command::Completion(args)) => Ok(completion::run(args, Cli::command())),
        }
    }
}

/// Flags that `sriov-network-device-plugin` has from Go, with one dash.
const WITH_ONE_DASH: [&str; 6] =
    ["config-file", "resource-prefix", "use-cdi", "log_dir", "log-dir", "log-level"];
/// Flags of its logger that have no meaning here: all logs go to standard error.
const OF_ITS_LOGGER: [&str; 11] = [
    "logtostderr",
    "alsologtostderr",
    "stderrthreshold",
    "v",
    "vmodule",
    "log_backtrace_at",
    "log_dir",
    "log-dir",
    "log_file",
    "log_link",
    "logbuflevel",
];

/// The command line with Go's spelling of flags (`-config-file=…`) in ours, and without those of the
/// logger of `sriov-network-device-plugin`, so that its manifests work as they are.
#[must_use]
pub fn in_one_spelling(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut all = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let flag = argument.trim_start_matches('-');
        let name = flag.split('=').next().unwrap_or_default();
        let dashes = argument.len() - flag.len();
        // Its value may be a word of its own.
        let value = flag.split_once('=').map(|(_, value)| value.to_owned());
        let value = value.or_else(|| arguments.peek().cloned()).unwrap_or_default();
        if (1..=2).contains(&dashes) && is_of_its_logger(name, &value) {
            let has_value = !flag.contains('=') && !name.ends_with("tostderr");
            let _ = has_value.then(|| arguments.next_if(|next| !next.starts_with('-')));
        } else if dashes == 1 && WITH_ONE_DASH.contains(&name) {
            all.push(format!("--{flag}"));
        } else {
            all.push(argument);
        }
    }
    all
}

/// `--log-level` is a flag of both; there its value is a number, which would be no level here.
fn is_of_its_logger(name: &str, value: &str) -> bool {
    let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    OF_ITS_LOGGER.contains(&name) || (name == "log-level" && is_number)
}

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Running.
    #[error(transparent)]
    Run(#[from] crate::daemon::DaemonError),
    /// `check`.
    #[error(transparent)]
    Check(#[from] check::CheckError),
}

impl CommandError {
    /// What the shell is told.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Run(crate::daemon::DaemonError::Config(_))
            | Self::Check(check::CheckError::Config(_)) => Exit::BadConfig,
            Self::Run(_) | Self::Check(_) => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Cli {
        let words = line.split(' ').map(str::to_owned);
        Cli::try_parse_from(in_one_spelling(words)).unwrap()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_other_plugins_command_lines_are_taken() {
        let cli = parse(
            "device-plugin -config-file=/etc/x.json -resource-prefix example.com -use-cdi -logtostderr=true -v=10 -log_dir /x",
        );
        assert_eq!(cli.run.config.to_str(), Some("/etc/x.json"));
        assert_eq!(cli.run.resource_prefix, "example.com");
        assert!(cli.run.use_cdi);
        let levels =
            [("--log-level 10", "info"), ("--log-level=10", "info"), ("-log-level debug", "debug")];
        for (level, meant) in levels {
            let cli = parse(&format!(
                "device-plugin --log-dir sriovdp {level} --config-file /etc/y.json"
            ));
            assert_eq!(
                (cli.run.config.to_str(), cli.log.log.as_str()),
                (Some("/etc/y.json"), meant)
            );
        }
    }

    #[test]
    fn a_switch_may_have_a_value_as_in_go() {
        for (switch, meant) in
            [("-use-cdi=true", true), ("--use-cdi=false", false), ("--use-cdi", true)]
        {
            let cli = parse(&format!(
                "device-plugin {switch} -stderrthreshold INFO -config-file /etc/z.json"
            ));
            assert_eq!((cli.run.use_cdi, cli.run.config.to_str()), (meant, Some("/etc/z.json")));
        }
    }

    #[test]
    fn without_flags_everything_is_where_the_other_plugin_has_it() {
        let cli = parse("device-plugin");
        assert_eq!(cli.run.config.to_str(), Some("/etc/pcidp/config.json"));
        assert_eq!((cli.run.resource_prefix.as_str(), cli.run.use_cdi), ("intel.com", false));
    }

    #[test]
    fn check_has_the_file_to_check() {
        let cli = parse("device-plugin check --config pools.yaml");
        assert!(
            matches!(cli.command, Some(Command::Check(args)) if args.config.to_str() == Some("pools.yaml"))
        );
    }
}
