//! One of two branches traps on every row, with the settings that everybody begins with, while rows keep coming: the other branch goes on, through
//! kills and other numbers of workers; a mended component makes up for it.

use super::{events, of_kind, rows_checkpointed};
use crate::support::{Lines, Place, Running, guest};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Rows of a portion of the input.
const PORTION: usize = 2_000;

/// Lines of a file go to `sick`, a guest that traps on all of them or a counter, and to `well`, a counter.
fn topology(sick: &str) -> String {
    let (parser, sick, well) = (guest("parse-text"), guest(sick), guest("running-count"));
    format!(
        "name = \"branches\"\n\
         [checkpoint]\nstore = \"file:./state\"\ninterval = \"50ms\"\nsavepoint-poll = \"50ms\"\n\
         [[source]]\nname = \"lines\"\n[source.file]\npath = \"in/*\"\nformat = \"lines\"\nfollow = true\npoll = \"10ms\"\n\
         [[operator]]\nname = \"parse\"\ncomponent = {parser:?}\ninput = \"lines\"\n\
         [[operator]]\nname = \"sick\"\ncomponent = {sick:?}\ninput = {{ from = \"parse\", by = \"key\" }}\n\
         on-failure = {{ then = \"pause\" }}\n\
         [[operator]]\nname = \"well\"\ncomponent = {well:?}\ninput = {{ from = \"parse\", by = \"key\" }}\n\
         [[sink]]\nname = \"sick-counts\"\ninput = \"sick\"\nfile = {{ path = \"out-sick\", format = \"csv\" }}\n\
         [[sink]]\nname = \"well-counts\"\ninput = \"well\"\nfile = {{ path = \"out-well\", format = \"csv\" }}\n"
    )
}

/// The file that grows, and what counting its rows gives.
struct Feed {
    random: StdRng,
    counts: Vec<u64>,
    counted: String,
    rows: usize,
}

impl Feed {
    const KEYS: usize = 300;

    fn new() -> Self {
        Self { random: StdRng::seed_from_u64(13), counts: vec![0; Self::KEYS], counted: String::new(), rows: 0 }
    }

    /// Appends rows to the file.
    fn grow(&mut self, place: &Place, rows: usize) {
        let mut text = String::new();
        for _ in 0..rows {
            let key = self.random.random_range(0..Self::KEYS);
            self.counts[key] += 1;
            writeln!(text, "k{key},poison,7").unwrap();
            writeln!(self.counted, "k{key},{},7", self.counts[key]).unwrap();
        }
        self.rows += rows;
        std::fs::create_dir_all(place.path("in")).unwrap();
        let file = std::fs::OpenOptions::new().append(true).create(true).open(place.path("in/rows.txt"));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn expected(&self) -> Lines {
        Lines::of(self.counted.as_bytes())
    }
}

fn start(place: &Place, workers: u32) -> Running {
    place.start(&["run", "job.toml", "--workers", &workers.to_string(), "--log", "json"])
}

fn well(place: &Place) -> Lines {
    Lines::of_folder(&place.path("out-well"))
}

#[test]
fn the_healthy_branch_goes_on_through_kills_and_the_sick_one_loses_nothing() {
    let place = Place::with(&topology("trap-unreachable"));
    let (mut feed, mut random) = (Feed::new(), StdRng::seed_from_u64(17));
    feed.grow(&place, PORTION);
    for kill in 0..20 {
        let mut running = start(&place, [2, 1, 3][kill % 3]);
        let wanted = feed.rows;
        running.wait_until("a checkpoint of all that there was", |running| rows_checkpointed(&running.told()) >= wanted as u64);
        running.wait_until("their output on the healthy branch", |_| well(&place).len() >= wanted);
        feed.grow(&place, PORTION);
        std::thread::sleep(Duration::from_millis(random.random_range(0..120)));
        running.kill();
    }
    let mut running = start(&place, 2);
    let wanted = feed.rows;
    running.wait_until("a checkpoint of everything", |running| rows_checkpointed(&running.told()) >= wanted as u64);
    running.signal("TERM");
    let asked = Instant::now();
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert!(asked.elapsed() < Duration::from_secs(20), "a job with a paused operator ends as others do");
    assert!(Lines::of_folder(&place.path("out-sick")).len() == 0, "nothing came of the sick branch");
    well(&place).assert_equals(&feed.expected(), "the healthy branch");

    place.write("job.toml", topology("running-count"));
    let mut running = start(&place, 3);
    running.wait_until("what was parked", |_| Lines::of_folder(&place.path("out-sick")).len() >= wanted);
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    Lines::of_folder(&place.path("out-sick")).assert_equals(&feed.expected(), "the mended branch");
    well(&place).assert_equals(&feed.expected(), "the healthy branch, in the end");
    let parked: Vec<_> = crate::support::files_below(&place.path("state/branches/snapshots"));
    let parked = parked.iter().filter(|path| path.extension().is_some_and(|ending| ending == "parked")).count();
    assert!(parked < 60, "{parked} objects of parked input are left of {} rows", feed.rows);
}

#[test]
fn a_pause_ended_by_command_lets_parked_rows_come_before_newer_ones() {
    // It traps until its environment says otherwise: rows with poison trap for ever, others do not.
    let text = topology("trap-unreachable").replace("then = \"pause\"", "retries = 0, faults-max = 0, pause = \"1h\"");
    let place = Place::with(&text);
    place.write("in/rows.txt", "k1,poison,7\nk1,v,7\nk2,v,7\n");
    let mut running = start(&place, 1);
    running.wait_until("the pause", |running| !of_kind(&events(&running.told()), "operator-paused").is_empty());
    running.wait_until("the healthy branch", |_| well(&place).len() >= 3);
    place.write("in/more.txt", "k1,v,7\nk2,v,7\n");
    running.wait_until("more of it", |_| well(&place).len() >= 5);
    assert_eq!(Lines::of_folder(&place.path("out-sick")).len(), 0);
    let resumed = place.run(&["resume", "job.toml", "sick"]);
    assert_eq!(resumed.code(), Some(0), "{resumed}");
    running.wait_until("what was parked", |_| Lines::of_folder(&place.path("out-sick")).len() >= 4);
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(0));
    Lines::of_folder(&place.path("out-sick")).assert_equals(&Lines::of(b"k1,1,7\nk2,1,7\nk1,2,7\nk2,2,7\n"), "all but the poison");
}
