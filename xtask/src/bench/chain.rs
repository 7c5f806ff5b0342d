//! The row of a stateless operator in a chain: the processor time of a chain with more operators less that of one with fewer, so that source and
//! sink do not count.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::hosts::Host;
use super::input::{self, Content};
use super::process::measured;
use super::result::{Measure, ResultRow};
use super::rounds::fresh;
use super::sizes::Sizes;
use super::topologies::{AT_THE_END, TopologyText, from};
use crate::paths;

/// The name of the row.
pub const NAME: &str = "chain";
/// Operators of the short chain and of the long one.
const LENGTHS: [u32; 2] = [1, 9];

/// Operators: what is added to the label, guest, settings, target. One takes each row and emits it again; the other hands back the batch that it
/// got, so that it shows what the boundary alone costs.
const OPERATORS: [(&str, &str, &str, Option<f64>); 2] =
    [("", "sick-echo", "config = { is = \"mended\" }", Some(15.0)), (", the batch as it is", "echo", "", None)];

/// Measures the row.
///
/// # Errors
/// A run fails.
pub fn row(folder: &Path, sizes: &Sizes, hosts: &[Host]) -> Result<ResultRow> {
    let rows = sizes.rows / 2;
    let file = input::file(folder, Content::Lines { rows })?;
    let native = |name: &'static str| {
        let file = file.clone();
        let make = move |length: u32| {
            let mut command = Command::new(paths::release("native-keyed-count"));
            command.args([name, "chain"]).arg(&file).arg(length.to_string());
            Ok(command)
        };
        (format!("native, {name}"), None, boxed(make))
    };
    let natives = [native("plain"), native("careful")];
    let hosted = hosts.iter().flat_map(|host| OPERATORS.map(|operator| (host, operator))).map(|(host, (what, guest, settings, target))| {
        let file = file.display().to_string();
        let make = move |length| {
            fresh(&folder.join("run"))?;
            let place = folder.join("topology.toml");
            fs::write(&place, topology(&file, length, &host.guest(guest), settings))?;
            Ok(host.run(&place, 1))
        };
        (format!("{}{what}", host.name), target, boxed(make))
    });
    let makers: Vec<(String, Option<f64>, Make<'_>)> = natives.into_iter().chain(hosted).collect();
    let mut values = vec![Vec::new(); makers.len()];
    // Components are compiled once, before anything is measured.
    makers.iter().try_for_each(|(_, _, make)| measured(&mut make(LENGTHS[0])?).map(drop))?;
    for round in 1..=sizes.rounds {
        println!("\n== chain, round {round} of {}", sizes.rounds);
        for ((label, _, make), values) in makers.iter().zip(&mut values) {
            let mut took = [0.0; 2];
            for (took, length) in took.iter_mut().zip(LENGTHS) {
                *took = measured(&mut make(length)?)?.processor_s;
            }
            let each_ns = (took[1] - took[0]) / f64::from(LENGTHS[1] - LENGTHS[0]) / rows as f64 * 1e9;
            println!("{label}: {:.2} s and {:.2} s cpu, {each_ns:.1} ns", took[0], took[1]);
            values.push(each_ns);
        }
    }
    let measures = makers.into_iter().zip(values).map(|((label, target, _), values)| {
        let measure = Measure::new(label, "ns/row", values);
        target.into_iter().fold(measure, Measure::target)
    });
    let title = "a stateless operator in a chain, rows of 32 bytes".to_owned();
    Ok(ResultRow { name: NAME, title, measures: measures.collect() })
}

/// Makes the command of a chain so long.
type Make<'a> = Box<dyn Fn(u32) -> Result<Command> + 'a>;

fn boxed<'a>(make: impl Fn(u32) -> Result<Command> + 'a) -> Make<'a> {
    Box::new(make)
}

/// The rows go to the sink at the end of all, which throws them away.
fn topology(file: &str, length: u32, guest: &str, settings: &str) -> String {
    let start = TopologyText::new(AT_THE_END).source(file, "format = \"lines\"");
    let name = |place: u32| if place == 0 { "rows".to_owned() } else { format!("echo-{place}") };
    let chain = (1..=length).fold(start, |chain, place| chain.operator(&name(place), guest, &from(&name(place - 1)), settings));
    chain.sink("out", &name(length), "stdout = { format = \"lines\" }").text().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operator_reads_the_one_before() {
        let text = topology("/in", 2, "/echo", "");
        for part in ["name = \"echo-1\"\ncomponent = \"/echo\"\ninput = \"rows\"", "input = \"echo-1\"", "input = \"echo-2\"\nstdout"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
