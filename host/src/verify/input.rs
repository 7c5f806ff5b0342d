//! Rows from files, read as the source `file` reads them.

use crate::clock::Clock;
use crate::connect::{self, BatchLimits, ConnectError, InputStatus};
use reprise_core::batch::Batch;
use reprise_core::topology::{Compression, Field, FileSource, OnLost, SourceFormat, SourceKind, TimeField};
use std::path::Path;
use std::time::Duration;

/// Rows that are taken of one file; the rest is left out.
pub const INPUT_ROWS_MAX: usize = 100_000;
/// Bytes of rows that are taken of one file; the rest is left out.
pub const INPUT_BYTES_MAX: usize = 64 << 20;
/// Bytes of the longest row.
const ROW_BYTES_MAX: u64 = 16 << 20;

/// Longest pause before looking again at a file that was written a moment ago.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// The format of files with rows.
#[derive(Debug, Clone)]
pub struct InputFormat {
    /// The way in which bytes become rows.
    pub format: SourceFormat,
    /// The place of the key in a row.
    pub key: Option<Field>,
    /// The place of the event time in a row.
    pub time: Option<TimeField>,
}

/// Rows of files.
#[derive(Debug, Clone, Default)]
pub struct InputRows {
    /// The rows of each file.
    pub files: Vec<Batch>,
    /// The rows have event times.
    pub has_times: bool,
    /// Rows that could not be read.
    pub unreadable: u64,
    /// There are more rows than were taken.
    pub is_cut: bool,
}

/// Reads files; a path may be a glob.
///
/// # Errors
/// Where a file is missing, cannot be read, or does not fit the format.
pub fn read(paths: &[String], format: &InputFormat) -> Result<InputRows, ConnectError> {
    let mut given = InputRows { has_times: format.time.is_some(), ..InputRows::default() };
    for path in paths {
        let settings = FileSource {
            path: path.clone(),
            format: format.format,
            key: format.key.clone(),
            time: format.time.clone(),
            follow: false,
            lateness: Duration::ZERO,
            split_bytes: u64::from(u32::MAX),
            row_bytes_max: ROW_BYTES_MAX,
            poll: Duration::from_secs(1),
            on_lost: OnLost::Stop,
            partial_after: None,
            compression: Compression::Auto,
            idle_after: None,
            time_ahead_max: None,
        };
        let rows = read_file(&settings, &mut given)?;
        given.files.push(rows);
    }
    Ok(given)
}

#[expect(clippy::disallowed_methods, reason = "the command reads on its own thread and has nothing to stop for")]
fn read_file(settings: &FileSource, given: &mut InputRows) -> Result<Batch, ConnectError> {
    let limits = BatchLimits { rows_max: 4_096, bytes_max: 1 << 20 };
    let source = connect::source(&SourceKind::File(settings.clone()), Path::new("."), limits, Clock::System)?;
    let mut reader = source.reader(source.splits(&[])?)?;
    let mut rows = Batch::new();
    loop {
        match reader.next()? {
            InputStatus::Rows(read) => {
                given.unreadable += read.rejected.len() as u64;
                for row in read.rows.rows() {
                    let is_full = rows.len() >= INPUT_ROWS_MAX || rows.size_bytes() + row.key.len() + row.value.len() > INPUT_BYTES_MAX;
                    if is_full || rows.push(row).is_err() {
                        given.is_cut = true;
                        return Ok(rows);
                    }
                }
            }
            InputStatus::Idle(pause) => std::thread::sleep(pause.min(PAUSE_MAX)),
            InputStatus::End => return Ok(rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str, text: &str, format: &InputFormat) -> InputRows {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&[path.to_str().unwrap().to_owned()], format).unwrap()
    }

    #[test]
    fn files_are_read_as_a_source_reads_them() {
        let key = Some(Field::Pointer("/k".to_owned()));
        let json = InputFormat { format: SourceFormat::Json, key, time: None };
        let given = given("a.jsonl", "{\"k\":\"x\"}\nnot json\n{\"k\":\"y\"}\n", &json);
        let keys: Vec<&[u8]> = given.files[0].rows().map(|row| row.key).collect();
        assert_eq!((keys, given.unreadable, given.is_cut), (vec![&b"x"[..], b"y"], 1, false));
    }

    #[test]
    fn rows_over_the_limit_are_left_out_and_told() {
        let lines = InputFormat { format: SourceFormat::Lines, key: None, time: None };
        let given = given("a.txt", &"x\n".repeat(INPUT_ROWS_MAX + 1), &lines);
        assert_eq!((given.files[0].len(), given.is_cut), (INPUT_ROWS_MAX, true));
    }

    #[test]
    fn a_file_that_is_missing_is_an_error() {
        let lines = InputFormat { format: SourceFormat::Lines, key: None, time: None };
        assert!(matches!(read(&["/nonexistent/a.txt".to_owned()], &lines), Err(ConnectError::Missing { .. })));
    }
}
