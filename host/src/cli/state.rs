//! `reprise state show`: the cells of an operator, decoded as their slots declare.

use super::checkpoint::{CHECKPOINT, Memory};
use super::figures::{parked_json, parked_text};
use super::site::{self, CommandFailure, Where, which_json};
use super::text::{self, count, plain, thousands, word};
use crate::job::survey::{self, CellPlace, CellValue, ChosenCheckpoint, Filter, Folded, FoldedSlot, ParkedSummary, decode};
use reprise_core::description::Slot;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;

const SHOW: &str = "reprise state show (FILE | --store URL --job NAME) OPERATOR [OPTIONS]";

#[derive(Debug, clap::Subcommand)]
pub(super) enum StateCommand {
    /// Show the cells of an operator: key, item and value, sorted, of all instances together.
    #[command(
        override_usage = SHOW,
        after_help = format!("{CHECKPOINT}\n\nExamples:\n  reprise state show topology.toml count --limit 20\n  reprise state show topology.toml count --slot counts --key user-17 --at before-upgrade --json")
    )]
    Show(ShowArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArguments {
    /// FILE: a topology file. OPERATOR: the name of an operator in it.
    #[arg(value_name = "FILE OPERATOR")]
    words: Vec<String>,
    #[command(flatten)]
    place: Where,
    /// The checkpoint.
    #[arg(long, value_name = "CHECKPOINT", default_value = "latest")]
    at: String,
    /// Cells of this slot alone.
    #[arg(long, value_name = "NAME")]
    slot: Option<String>,
    /// Cells whose keys begin with this text.
    #[arg(long, value_name = "PREFIX")]
    key: Option<String>,
    /// Cells whose keys begin with these bytes, two hexadecimal digits each.
    #[arg(long, value_name = "HEX", conflicts_with = "key", value_parser = parse_hex)]
    key_hex: Option<Hex>,
    /// Cells of this instance alone.
    #[arg(long, value_name = "INDEX")]
    instance: Option<u32>,
    /// Cells to show at most.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    #[command(flatten)]
    memory: Memory,
}

#[derive(Debug, Clone)]
struct Hex(Vec<u8>);

fn parse_hex(text: &str) -> Result<Hex, String> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => Ok(Hex(digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())),
        _ => Err("two hexadecimal digits are wanted for each byte".to_owned()),
    }
}

pub(super) fn state(command: StateCommand) -> ExitCode {
    let StateCommand::Show(arguments) = command;
    site::end(show(&arguments), SHOW, arguments.place.json)
}

fn show(arguments: &ShowArguments) -> Result<ExitCode, CommandFailure> {
    let ShowArguments { words, place, at, slot, instance, limit, memory, .. } = arguments;
    let operator = &place.rest(words, 1, 1)?[0];
    let key_prefix = match (&arguments.key, &arguments.key_hex) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(Hex(bytes))) => bytes.clone(),
        (None, None) => Vec::new(),
    };
    let filter = Filter { slot: slot.clone(), key_prefix, instance: *instance };
    let opened = place.open(words)?;
    let chosen = opened.choose(at)?;
    let folded = opened.wait(survey::fold(&opened.store, &chosen.manifest, operator, &filter, memory.bytes_max))?;
    text::put_as(
        place.json,
        || cells_json(&opened.store.root(), &chosen, operator, &folded, *limit),
        || picture(&chosen, operator, &folded, *limit),
    );
    Ok(ExitCode::SUCCESS)
}

/// The first cells of all slots, up to the limit.
fn first(folded: &Folded, limit: u64) -> impl Iterator<Item = (&Slot, &CellPlace, &CellValue)> {
    let cells = folded.slots.iter().flat_map(|slot| slot.cells.iter().map(|(place, held)| (&slot.slot, place, held)));
    cells.take(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// What waits for each instance of an operator, where anything does: its cells know nothing of it.
fn parked_of<'a>(chosen: &'a ChosenCheckpoint, operator: &'a str) -> impl Iterator<Item = (usize, ParkedSummary)> + 'a {
    let found = chosen.manifest.operators.iter().filter(move |one| one.name == operator);
    let instances = found.flat_map(|operator| operator.instances.iter().enumerate());
    instances.map(|(index, instance)| (index, ParkedSummary::of_instance(instance))).filter(|(_, parked)| parked.objects > 0)
}

fn with_instance(instance: usize, parked: &ParkedSummary) -> Value {
    let mut json = parked_json(parked);
    json["instance"] = instance.into();
    json
}

fn total(folded: &Folded) -> u64 {
    folded.slots.iter().map(|slot| slot.cells.len() as u64).sum()
}

fn cells_json(root: &str, chosen: &ChosenCheckpoint, operator: &str, folded: &Folded, limit: u64) -> String {
    let slots = folded.slots.iter().map(|FoldedSlot { slot, cells }| {
        json!({ "name": slot.name, "kind": slot.kind, "version": slot.version, "encoding": slot.encoding, "cells": cells.len() })
    });
    let parked: Vec<Value> = parked_of(chosen, operator).map(|(instance, parked)| with_instance(instance, &parked)).collect();
    let mut json = json!({
        "job": chosen.manifest.job, "store": root, "operator": operator, "parked": parked, "slots": slots.collect::<Vec<_>>(), "cells_found": total(folded),
    });
    text::extend(&mut json, which_json(&chosen.which, Some(chosen.manifest.epoch.0)));
    let cell = |(slot, place, held): (&Slot, &CellPlace, &CellValue)| {
        let decoded = decode::value(slot.encoding, &held.value);
        let json = json!({ "slot": slot.name, "instance": held.instance, "as_declared": decoded.as_declared });
        let members = [("key", decode::bytes(&place.key)), ("item", decode::bytes(&place.item)), ("value", decoded.json)];
        text::with_members(&json, members)
    };
    text::with_members(&json, [("cells", text::array(first(folded, limit).map(cell)))])
}

fn picture(chosen: &ChosenCheckpoint, operator: &str, folded: &Folded, limit: u64) -> String {
    let all = total(folded);
    let heading = text::heading(&chosen.which, chosen.manifest.epoch);
    let mut out = format!("operator `{}` at {heading} of job `{}`: {}\n", plain(operator), chosen.manifest.job, count(all, "cell"));
    for (instance, parked) in parked_of(chosen, operator) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "parked for instance {instance}, and in none of its cells yet: {}", parked_text(&parked));
    }
    let mut left = limit;
    for FoldedSlot { slot, cells } in &folded.slots {
        let (kind, encoding) = (word(slot.kind), word(slot.encoding));
        let cells_text = count(cells.len() as u64, "cell");
        // Writing to a string does not fail.
        let _ = writeln!(out, "slot `{}` ({kind}, version {}, {encoding}): {cells_text}", plain(&slot.name), slot.version);
        for (place, held) in cells.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            let _ = writeln!(out, "  {} = {}", text::place(place), text::value(slot.encoding, &held.value));
        }
        left = left.saturating_sub(cells.len() as u64);
    }
    if all > limit {
        let _ = writeln!(out, "{} more; `--limit` shows more", thousands(all - limit));
    }
    out
}
