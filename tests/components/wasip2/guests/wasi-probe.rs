//! Asks the host for everything that the standard library can ask for. Each row is a command, its answer the value of a row; an error is
//! an answer too. On the bare interfaces where the standard library has no words.

use reprise_guest::{Description, Encoding::Utf8, Operator, Output, Record, Text, export};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

mod bare {
    wit_bindgen::generate!({
        path: "../../../host/src/wasm/wasi/wasi.wit",
        inline: "package wasi:probe; world probe {
            import wasi:random/random@0.2.12;
            import wasi:random/insecure@0.2.12;
            import wasi:random/insecure-seed@0.2.12;
            import wasi:clocks/monotonic-clock@0.2.12;
        }",
        world: "wasi:probe/probe",
        generate_all,
    });
    pub use wasi::clocks::monotonic_clock;
    pub use wasi::random::{insecure, insecure_seed, random};
}

#[derive(Default)]
struct Probe;

impl Operator for Probe {
    fn describe() -> Description {
        Description::new("wasi-probe").input("commands").output("answers", Utf8, Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        let command = std::str::from_utf8(row.value).map_err(|error| error.to_string())?;
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        let answer = answer(word, rest).unwrap_or_else(|error| format!("error: {:?}", error.kind()));
        out.emit(row.time, row.key, Text(answer));
        Ok(())
    }
}

fn answer(word: &str, rest: &str) -> io::Result<String> {
    Ok(match word {
        "clocks" => clocks(),
        "spin" => spin(),
        "storm" => storm(),
        "random" => random(),
        "random-many" => bare::random::get_random_bytes(rest.parse().map_err(io::Error::other)?).len().to_string(),
        "tables" => tables(),
        "environment" => environment(),
        "stdin" => io::stdin().read_to_end(&mut Vec::new())?.to_string(),
        "print" => print(rest)?,
        "flood" => flood(rest.parse().map_err(io::Error::other)?)?,
        "read" => fs::read_to_string(rest)?,
        "read-long" => read_long(rest)?,
        "list" => list(rest)?,
        "stat" => stat(rest)?,
        "link" => fs::read_link(rest)?.display().to_string(),
        "write" => fs::write(rest, "x").map(|()| "written".to_owned())?,
        "append" => OpenOptions::new().append(true).open(rest).map(|_| "opened".to_owned())?,
        "make" => fs::create_dir(rest).map(|()| "made".to_owned())?,
        "remove" => fs::remove_file(rest).map(|()| "removed".to_owned())?,
        "rename" => fs::rename(rest, format!("{rest}.old")).map(|()| "renamed".to_owned())?,
        "open-many" => open_many(Path::new(rest)),
        "subscribe-many" => subscribe_many(rest.parse().map_err(io::Error::other)?),
        "connect" => TcpStream::connect(rest).map(|_| "connected".to_owned())?,
        "bind" => UdpSocket::bind(rest).map(|_| "bound".to_owned())?,
        "resolve" => rest.to_socket_addrs().map(|_| "resolved".to_owned())?,
        "exit" => std::process::exit(rest.parse().map_err(io::Error::other)?),
        "panic" => panic!("{rest}"),
        _ => format!("`{word}` is no command"),
    })
}

fn clocks() -> String {
    let wall = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let (walls, began) = ([wall(), wall()], Instant::now());
    let look = began.elapsed();
    std::thread::sleep(Duration::from_secs(3_600));
    let slept = began.elapsed();
    format!("wall {walls:?}, monotonic {} {look:?} {slept:?}", bare::monotonic_clock::now())
}

fn spin() -> String {
    let began = Instant::now();
    let mut looks = 0;
    while began.elapsed() < Duration::from_millis(1) {
        looks += 1;
    }
    format!("{looks} looks")
}

/// Looks at the clock for ever.
fn storm() -> String {
    loop {
        std::hint::black_box(Instant::now());
    }
}

fn random() -> String {
    let secure = (bare::random::get_random_bytes(11), bare::random::get_random_u64());
    let insecure = (bare::insecure::get_insecure_random_bytes(3), bare::insecure::get_insecure_random_u64());
    format!("{secure:?} {insecure:?}")
}

fn tables() -> String {
    let table: HashMap<u32, ()> = (0..16).map(|key| (key, ())).collect();
    format!("{:?} {:?}", bare::insecure_seed::insecure_seed(), table.keys().collect::<Vec<_>>())
}

fn environment() -> String {
    let mut variables: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    variables.sort();
    format!("{} arguments, {variables:?}", std::env::args().count())
}

fn print(text: &str) -> io::Result<String> {
    println!("{text}");
    eprintln!("{text}");
    print!("not ended");
    io::stdout().flush()?;
    Ok("printed".to_owned())
}

fn flood(lines: usize) -> io::Result<String> {
    io::stdout().write_all("x\n".repeat(lines).as_bytes())?;
    io::stdout().write_all("y".repeat(100_000).as_bytes())?;
    io::stdout().flush()?;
    Ok("printed".to_owned())
}

/// In pieces, from a place in the middle on.
fn read_long(path: &str) -> io::Result<String> {
    use std::io::{Seek as _, SeekFrom};
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
    file.seek(SeekFrom::End(-3))?;
    let mut last = String::new();
    file.read_to_string(&mut last)?;
    Ok(format!("{} bytes, sum {sum}, ends with {last}", bytes.len()))
}

fn list(path: &str) -> io::Result<String> {
    let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    Ok(entries.collect::<io::Result<Vec<String>>>()?.join(" "))
}

fn stat(path: &str) -> io::Result<String> {
    let found = fs::symlink_metadata(path)?;
    let modified = found.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    Ok(format!("{} bytes, folder {}, link {}, changed {modified:?}", found.len(), found.is_dir(), found.is_symlink()))
}

fn open_many(path: &Path) -> String {
    let mut files = Vec::new();
    let error = loop {
        match File::open(path) {
            Ok(file) => files.push(file),
            Err(error) => break error,
        }
    };
    format!("more than a hundred: {}, then {:?}", files.len() > 100, error.kind())
}

fn subscribe_many(count: u64) -> String {
    let waits: Vec<_> = (0..count).map(bare::monotonic_clock::subscribe_duration).collect();
    waits.len().to_string()
}

export!(Probe);
