//! Packed files and files that hold no rows.

use super::{GOOD, REFUSED, assert_ends, place, run_with_input, values};
use std::io::Write;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(text, 1).expect("memory can be written")
}

fn lines(from: usize, to: usize) -> String {
    (from..to).map(|row| format!("row {row:06}\n")).collect()
}

fn expected(to: usize) -> Vec<String> {
    lines(0, to).lines().map(str::to_owned).collect()
}

#[test]
fn packed_files_are_unpacked_whatever_their_names_and_parts() {
    let place = place("path = \"in/*\", format = \"lines\"");
    place.write("in/a.log", lines(0, 1_000));
    place.write("in/b.log.gz", gzip(lines(1_000, 2_000).as_bytes()));
    place.write("in/c.txt", [zstd(lines(2_000, 2_500).as_bytes()), zstd(lines(2_500, 3_000).as_bytes())].concat());
    place.write("in/d", [gzip(lines(3_000, 3_500).as_bytes()), gzip(lines(3_500, 4_000).as_bytes())].concat());
    place.write("in/e.gz", gzip(b""));
    assert_ends(&place.finish(2), GOOD, &[]);
    assert_eq!(values(&place), expected(4_000));
    // A later run finds nothing that has changed.
    assert_ends(&place.finish(2), GOOD, &[]);
    assert_eq!(values(&place), expected(4_000));
}

#[test]
fn a_cut_archive_stops_the_job_and_is_read_on_when_it_is_whole() {
    for (name, packed) in [("in.gz", gzip(lines(0, 20_000).as_bytes())), ("in.zst", zstd(lines(0, 20_000).as_bytes()))] {
        let place = place("path = \"in.*\", format = \"lines\"");
        place.write(name, &packed[..packed.len() - packed.len() / 3]);
        assert_ends(&place.run(&["run", "job.toml"]), REFUSED, &[name, "cannot be unpacked", "help:"]);
        place.write(name, &packed);
        place.finish(1);
        assert_eq!(values(&place), expected(20_000), "{name}");
    }
}

#[test]
fn damage_within_an_archive_is_no_row() {
    let mut packed = gzip(lines(0, 20_000).as_bytes());
    let middle = packed.len() / 2;
    packed[middle..middle + 8].copy_from_slice(b"\0\xff\0\xff\0\xff\0\xff");
    let place = place("path = \"in.gz\", format = \"lines\"");
    place.write("in.gz", packed);
    assert_ends(&place.run(&["run", "job.toml"]), REFUSED, &["in.gz", "cannot be unpacked"]);
    assert!(values(&place).iter().all(|value| expected(20_000).contains(value)));
}

#[test]
fn what_holds_no_rows_is_refused_by_its_kind() {
    for (bytes, kind) in
        [(&b"PK\x03\x04rest"[..], "zip"), (b"\xfd7zXZ\0rest", "xz"), (b"BZh91AY&SYrest", "bzip2"), (b"PAR1\x15rest", "Parquet")]
    {
        let place = place("path = \"in/*\", format = \"lines\"");
        place.write("in/a.txt", "fine\n");
        place.write("in/b.txt", bytes);
        assert_ends(&place.run(&["run", "job.toml"]), REFUSED, &["b.txt", kind, "help:"]);
        assert!(values(&place).is_empty(), "nothing is read before all is known to be right");
    }
}

#[test]
fn every_byte_is_taken_where_the_setting_says_so() {
    let place = place("path = \"in\", format = \"lines\", compression = \"none\"");
    place.write("in", b"\x1f\x8b\x08 is how gzip begins\n");
    place.finish(1);
    assert_eq!(values(&place).len(), 1);
}

#[test]
fn a_setting_that_does_not_fit_the_file_is_refused() {
    let place = place("path = \"in\", format = \"lines\", compression = \"zstd\"");
    place.write("in", gzip(b"a\n"));
    assert_ends(&place.run(&["run", "job.toml"]), REFUSED, &["not packed by zstd", "help:"]);
}

#[test]
fn packed_standard_input_is_refused_with_the_way_out() {
    let place = place("path = \"-\", format = \"lines\"");
    assert_ends(&run_with_input(&place, &gzip(b"a\nb\n")), REFUSED, &["packed by gzip", "zcat"]);
}

#[test]
fn a_followed_folder_passes_packed_files_over() {
    let place = place("path = \"in/app.log*\", format = \"lines\", follow = true, poll = \"10ms\"");
    place.write("in/app.log", "new 1\nnew 2\n");
    place.write("in/app.log.2.gz", gzip(b"old\n"));
    let mut running = place.start(&["run", "job.toml"]);
    running.wait_until("rows are visible", |_| values(&place).len() == 2);
    place.write("in/app.log.3.gz", gzip(b"older\n"));
    running.wait_until("the second one is named, too", |running| running.told().contains("app.log.3.gz"));
    running.signal("TERM");
    let ended = running.wait();
    assert_ends(&ended, GOOD, &["app.log.2.gz", "packed files cannot be followed"]);
    assert_eq!(values(&place), ["new 1", "new 2"]);
}
