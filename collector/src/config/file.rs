//! The configuration file of `tare run`: options by their names, in TOML.
//!
//! The command line and the environment take precedence. The file's options are parsed as if they
//! were on the command line, so they mean the same and are checked alike.

use std::{ffi::OsString, fs, path::PathBuf};

use clap::{
    Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, parser::ValueSource,
};
use strsim::osa_distance;
use toml::{Table, Value};

use crate::{
    cli::Cli,
    config::{self, Config, Fault, sink},
};

/// The only command that has a configuration file.
const COMMAND: &str = "run";

/// The option that may be a list of tables in the file.
const SINK: &str = "sink";

/// Options that the file cannot set.
const NOT_IN_FILE: [&str; 4] = ["check-config", "config", "help", "version"];

/// A known name within this edit distance of an unknown one is suggested.
const EDITS_MAX: usize = 3;

/// Reads the command line, the environment and the configuration file.
///
/// # Errors
///
/// If any of them is wrong.
pub fn read(arguments: &[OsString]) -> Result<Config, Fault> {
    let matches = Cli::command().try_get_matches_from(arguments)?;
    let given = matches.subcommand_matches(COMMAND);
    let Some((given, path)) = given.and_then(|it| Some((it, it.get_one::<PathBuf>("config")?)))
    else {
        return Ok(Cli::from_arg_matches(&matches)?.into());
    };
    let in_file = |message: String| Fault::File(format!("{}: {message}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| in_file(error.to_string()))?;
    let table = text.parse::<Table>().map_err(|error| in_file(error.to_string()))?;
    let sinks = match table.get(SINK) {
        Some(Value::Array(all)) if all.iter().any(Value::is_table) && !is_given(given, SINK) => {
            sink::of_file(&text, path).map_err(in_file)?
        }
        _ => Vec::new(),
    };
    let further = arguments_of(&table, given).map_err(in_file)?;
    let all = arguments.iter().cloned().chain(further);
    // Without the file the arguments were valid.
    let matches = Cli::command().try_get_matches_from(all);
    let matches = matches.map_err(|error| in_file(first_line(&error)))?;
    let mut config: Config = Cli::from_arg_matches(&matches)?.into();
    if let config::Command::Run(run) = &mut config.command {
        run.sinks.extend(sinks);
    }
    Ok(config)
}

/// Whether the command line or the environment sets an option.
fn is_given(given: &ArgMatches, id: &str) -> bool {
    let source = given.value_source(id);
    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// The file's options as arguments, without those that the command line or the environment sets.
fn arguments_of(table: &Table, given: &ArgMatches) -> Result<Vec<OsString>, String> {
    let mut command = Cli::command();
    command.build();
    let run = command.find_subcommand(COMMAND).ok_or("there is no such command")?;
    let mut arguments = Vec::new();
    for (name, value) in table {
        let option = find(run, name)?;
        let is_table =
            |value: &Value| value.as_array().is_some_and(|all| all.iter().any(Value::is_table));
        if is_given(given, option.get_id().as_str()) || (name == SINK && is_table(value)) {
            continue;
        }
        match (option.get_action(), value) {
            (ArgAction::SetTrue, Value::Boolean(true)) => {
                arguments.push(format!("--{name}").into());
            }
            (ArgAction::SetTrue, Value::Boolean(false)) => {}
            (ArgAction::SetTrue, _) => return Err(format!("`{name}` must be true or false")),
            (_, Value::Array(values)) if values.is_empty() => {
                return Err(format!("`{name}` is empty"));
            }
            (_, Value::Array(values)) => {
                for value in values {
                    arguments.push(argument(name, value)?);
                }
            }
            (_, value) => arguments.push(argument(name, value)?),
        }
    }
    Ok(arguments)
}

fn argument(name: &str, value: &Value) -> Result<OsString, String> {
    let value = match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        _ => return Err(format!("`{name}` must be text or a whole number")),
    };
    Ok(format!("--{name}={value}").into())
}

fn find<'a>(run: &'a Command, name: &str) -> Result<&'a Arg, String> {
    let options = || {
        let named = |option: &&Arg| option.get_long().is_some_and(|n| !NOT_IN_FILE.contains(&n));
        run.get_arguments().filter(named)
    };
    if let Some(option) = options().find(|option| option.get_long() == Some(name)) {
        return Ok(option);
    }
    let names = options().filter_map(Arg::get_long);
    let near = names.map(|known| (osa_distance(known, name), known)).min();
    Err(match near.filter(|(edits, _)| *edits <= EDITS_MAX) {
        Some((_, near)) => format!("there is no option `{name}`; did you mean `{near}`?"),
        None => format!("there is no option `{name}`; see `tare run --help`"),
    })
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{self, Run};

    fn with(file: &str, arguments: &[&str]) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tare.toml");
        fs::write(&path, file).unwrap();
        let fixed = ["tare", "run", "--config", path.to_str().unwrap()];
        let all: Vec<_> = fixed.iter().chain(arguments).map(OsString::from).collect();
        read(&all).map_err(|fault| match fault {
            Fault::Usage(error) => error.to_string(),
            Fault::File(message) => message.replace(path.to_str().unwrap(), "FILE"),
        })
    }

    fn run(config: Config) -> Run {
        let config::Command::Run(run) = config.command else { unreachable!() };
        *run
    }

    #[test]
    fn options_of_the_file_apply_unless_they_are_given_elsewhere() {
        let file = "interval = \"5s\"\nmax-connections = 7\ntimestamps = true\nslots = 16\n\
                    listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n";
        let config = with(file, &["--max-connections", "9"]).unwrap();
        assert_eq!(config.common.slots, 16);
        let run = run(config);
        assert_eq!((run.interval, run.max_connections), (Duration::from_secs(5), 9));
        assert!(run.metrics.timestamps);
        assert_eq!(run.listen.len(), 2);
    }

    #[test]
    fn a_list_on_the_command_line_replaces_that_of_the_file() {
        let config = with("listen = [\"127.0.0.1:1\"]", &["--listen", "127.0.0.1:2"]).unwrap();
        assert_eq!(run(config).listen, ["127.0.0.1:2".parse().unwrap()]);
    }

    #[test]
    fn mistakes_in_the_file_are_explained() {
        for (file, said) in [
            (
                "intervall = \"5s\"",
                "FILE: there is no option `intervall`; did you mean `interval`?",
            ),
            ("zzzzzzzzzzzz = 1", "FILE: there is no option `zzzzzzzzzzzz`; see `tare run --help`"),
            ("config = \"x\"", "FILE: there is no option `config`"),
            (
                "interval = \"5\"",
                "FILE: invalid value '5' for '--interval <DURATION>': needs a unit",
            ),
            ("interval = 0.5", "FILE: `interval` must be text or a whole number"),
            ("timestamps = \"yes\"", "FILE: `timestamps` must be true or false"),
            ("listen = []", "FILE: `listen` is empty"),
            ("interval = ", "FILE: TOML parse error"),
        ] {
            let error = with(file, &[]).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
        let missing = ["tare", "run", "--config", "/nonexistent"].map(OsString::from);
        assert!(matches!(read(&missing), Err(Fault::File(_))));
    }

    #[test]
    fn other_commands_have_no_file() {
        let arguments = ["tare", "stats", "--no-stream"].map(OsString::from);
        assert!(matches!(read(&arguments).unwrap().command, config::Command::Stats(_)));
    }

    #[test]
    fn sinks_are_tables_or_urls() {
        let file = "interval = \"1s\"\n\n[[sink]]\nurl = \"stdout:\"\ninterval = \"5s\"\n\
                    families = [\"cpu\"]\nlabels = { zone = \"a\" }\nqueue = \"1MiB\"\n\n\
                    [[sink]]\nurl = \"graphite://host\"\n";
        let run = run(with(file, &[]).unwrap());
        assert_eq!(run.sinks.len(), 2);
        let sink = &run.sinks[0];
        assert_eq!((sink.url.as_str(), sink.interval), ("stdout:", Some(Duration::from_secs(5))));
        assert_eq!((sink.families.len(), sink.labels.len(), sink.queue_bytes), (1, 1, 1 << 20));
        assert!(sink.place.ends_with("tare.toml, line 3"), "{}", sink.place);
        assert!(run.sinks[1].place.ends_with("line 10"), "{}", run.sinks[1].place);
        // As with every list, the command line replaces it.
        let given = self::run(with(file, &["--sink", "stdout:"]).unwrap());
        assert_eq!((given.sinks.len(), given.sinks[0].interval), (1, None));
        let plain = self::run(with("sink = [\"stdout:\", \"graphite://a\"]", &[]).unwrap());
        assert_eq!(plain.sinks.len(), 2);
    }

    #[test]
    fn mistakes_in_a_sink_name_their_line() {
        for (line, said) in [
            ("urll = \"stdout:\"", "unknown field `urll`"),
            ("url = \"stdout:\"\ninterval = \"5\"", "needs a unit"),
            ("url = \"stdout:\"\nqueue = \"1\"", "must be 64KiB or more"),
            ("name = \"a\"", "missing field `url`"),
        ] {
            let error = with(&format!("interval = \"1s\"\n[[sink]]\n{line}\n"), &[]).unwrap_err();
            assert!(error.contains(said) && error.contains("at line "), "{error}");
        }
    }
}
