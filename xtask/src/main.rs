//! The project's own commands: `cargo xtask COMMAND`.
//!
//! Each command does all its set-up itself, so that it works on a fresh clone. This crate depends on next to nothing: it has to
//! compile in seconds, before anything else is built.

#![allow(clippy::disallowed_methods, reason = "the commands wait for processes, and the library that is told the time is not theirs")]

mod bench;
mod demo;
mod deny;
mod fuzz;
mod guests;
mod paths;
mod run;
mod servers;
mod sim;
mod suite;
mod tidy;
mod toolchain;

use std::process::ExitCode;

use anyhow::{Result, bail};
use bench::recovery::Load;
use deny::Checked;

const HELP: &str = "\
cargo xtask COMMAND

  guests   build every Wasm guest (examples/, tests/components/) to target/guests/NAME.wasm
  servers  the S3 servers of the tests: build ours, and install a real one with the Go tool chain where that works
           --minio          a second real one, MinIO (AGPL-3.0)
  test     everything that has to hold: format, tidy, guests, tests, lints; ends with a summary
  demo     word count in two Wasm operators, killed with SIGKILL twice, compared with the expected counts
           --times N        how often the text is repeated to make the input (default 60)
  bench    processor time, memory, recovery and latency, beside native Rust programs that do the same
           --only NAMES     these rows of the table, with commas between; a name that does not exist lists them
           --quick          fewer rows, keys, rounds and faults
           --rows N         rows of the inputs with few keys (default 20000000)
           --rounds N       rounds, of which the median counts (default 5)
           --binary [NAME=]PATH  this binary in place of that of the working tree; several stand side by side
           --guests PATH    the folder of guests of the --binary before
           --save           keep the results in docs/benchmarks
  recovery how long an operator with state takes to come back after a trap, alone and with a standby
           --cells N        cells of its state over two workers (default 300000)
           --poison N       rows that may trap (default 2200)
           --apart N        one of so many rows is such a row (default 20000)
           --parallelism N  instances of the operator; at least one on each of the two workers (default 1)
           --standby N      0: alone only; 1: with a standby only
           --interval N     seconds between two checkpoints (default 10)
           --rate N         rows a second (default 100000)
  sim      the checkpoint protocol simulated over many seeds: hosts, storage and sinks that fail, in one thread
           N                how many seeds (default 1000); --base SEED is the first one (default 0)
           --seed SEED      this seed alone, with its trace
           --mutation NAME  a protocol that is broken on purpose; a name that does not exist lists them
  fuzz     arbitrary bytes from a guest, led by the branches that they take in the host; builds what it needs once (some minutes)
           --minutes N      how long (default 10)
           --minimise       take what was found over into tests/fuzz/corpus, as few inputs as take the same branches
  golden   run the tests with UPDATE_GOLDEN=1: accept the present output as the golden files
  deny     licences, sources, versions and advisories of the libraries, by deny.toml; installs cargo-deny once (some minutes)
  tidy     rules of the source tree that no compiler checks
           --all            complain of rules too that the tree does not hold to yet
           --glossary       print the rows that the table of types in docs/glossary.md lacks
  help     this text
";

fn main() -> ExitCode {
    if let Some(code) = fuzz::as_rustc() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", arguments),
    };
    match command {
        "guests" => options(rest, &[]).and_then(|_| guests::build().map(drop)),
        "servers" => match rest {
            [] => servers::servers(false),
            [word] if word == "--minio" => servers::servers(true),
            _ => options(rest, &[]).map(drop),
        },
        "test" => options(rest, &[]).and_then(|_| suite::test()),
        "sim" => sim::sim(rest),
        "fuzz" => fuzz::fuzz(rest),
        "golden" => options(rest, &[]).and_then(|_| suite::golden()),
        "deny" => {
            options(rest, &[])?;
            match deny::deny(true)? {
                Checked::All => println!("the libraries are as deny.toml allows"),
                Checked::WithoutAdvisories(reason) | Checked::ByHand(reason) => println!("SKIPPED: {reason}"),
            }
            Ok(())
        }
        "tidy" => match rest {
            [word] if word == "--all" => tidy::check_repository(true),
            [word] if word == "--glossary" => tidy::print_missing_rows(),
            _ => options(rest, &[]).and_then(|_| tidy::check_repository(false)),
        },
        "demo" => {
            let values = options(rest, &["--times"])?;
            demo::demo(values[0].unwrap_or(demo::TIMES_DEFAULT))
        }
        "bench" => bench::bench(rest),
        "recovery" => {
            let values = options(rest, &["--cells", "--poison", "--apart", "--rate", "--parallelism", "--standby", "--interval"])?;
            let usual = Load::default();
            bench::recovery::recovery(Load {
                cells: values[0].unwrap_or(usual.cells),
                poison: values[1].unwrap_or(usual.poison),
                apart: values[2].unwrap_or(usual.apart),
                rate: values[3].unwrap_or(usual.rate),
                parallelism: values[4].unwrap_or(usual.parallelism),
                standby: values[5].map(|given| given > 0),
                interval: values[6].unwrap_or(usual.interval),
            })
        }
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("there is no command `{other}`\n\n{HELP}"),
    }
}

/// Options that are switches: 0 or 1.
const SWITCHES: [&str; 1] = ["--standby"];

/// Reads `--name N` pairs: one entry for each known name, in the order of `known`. Everything else is an error.
fn options(arguments: &[String], known: &[&str]) -> Result<Vec<Option<u64>>> {
    let mut values = vec![None; known.len()];
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        let Some(place) = known.iter().position(|candidate| candidate == name) else {
            bail!("unknown argument `{name}`\n\n{HELP}");
        };
        let number = rest.next().and_then(|text| text.replace('_', "").parse::<u64>().ok());
        let (lawful, what) = if SWITCHES.contains(&name.as_str()) { (0..=1, "0 or 1") } else { (1..=u64::MAX, "a whole number above 0") };
        let Some(number) = number.filter(|number| lawful.contains(number)) else {
            bail!("`{name}` needs {what}");
        };
        values[place] = Some(number);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::options;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_come_back_in_the_order_of_the_known_names() {
        let values = options(&words("--rounds 2 --rows 1_000"), &["--rows", "--rounds"]).expect("both are known");
        assert_eq!(values, [Some(1000), Some(2)]);
    }

    #[test]
    fn a_switch_is_on_or_off() {
        let value = |text| options(&words(text), &["--standby"]).ok();
        let expected = [Some(vec![Some(0)]), Some(vec![Some(1)]), None, None];
        assert_eq!(["--standby 0", "--standby 1", "--standby 2", "--standby"].map(value), expected);
    }

    #[test]
    fn unknown_missing_and_zero_values_are_refused() {
        for text in ["--colour 1", "--rows", "--rows many", "--rows 0", "rows"] {
            assert!(options(&words(text), &["--rows"]).is_err(), "{text}");
        }
    }
}
