//! Small steps on files and folders, each with an error that names the path. Nothing here knows sinks.

use crate::connect::ConnectError;
use reprise_core::codec::Checksum;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Bytes of files that are read at a time.
const STEP_BYTES: usize = 64 << 10;

/// The epoch in a note of the first hosts. What is none counts as absent, since all that it does is to excuse files that readers moved away.
pub fn read_epoch(path: &Path) -> Result<Option<u64>, ConnectError> {
    Ok(read(path)?.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()))
}

/// The bytes of a file; `None` where there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, ConnectError> {
    ConnectError::unless_absent(fs::read(path), "read", path)
}

/// Removes a file; one that is gone is fine.
pub fn remove(path: &Path) -> Result<(), ConnectError> {
    ConnectError::unless_absent(fs::remove_file(path), "remove", path).map(|_| ())
}

/// Makes an empty file; one that is there is fine.
pub fn touch(path: &Path) -> Result<(), ConnectError> {
    match File::create_new(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(ConnectError::io("make", path)(error)),
        _ => Ok(()),
    }
}

/// Writes a small file as a whole or not at all, durable. The draft's name is this process's own: two hosts may start at the same moment.
pub fn replace(path: &Path, text: &str) -> Result<(), ConnectError> {
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let write = |draft: &Path| {
        let mut file = fs::File::create(draft)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()
    };
    write(&draft).map_err(ConnectError::io("write", &draft))?;
    fs::rename(&draft, path).map_err(ConnectError::io("write", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Length of a file; `None` where there is none.
pub fn length(path: &Path) -> Result<Option<u64>, ConnectError> {
    let looked = ConnectError::unless_absent(fs::symlink_metadata(path), "look at", path)?;
    Ok(looked.map(|metadata| metadata.len()))
}

/// Names of the plain entries of a folder, sorted; none where there is no such folder. Names that are not UTF-8 are not of a sink.
pub fn names(folder: &Path) -> Result<Vec<String>, ConnectError> {
    let mut names = Vec::new();
    for entry in ConnectError::unless_absent(fs::read_dir(folder), "list", folder)?.into_iter().flatten() {
        let entry = entry.map_err(ConnectError::io("list", folder))?;
        // One that vanishes meanwhile, or cannot be looked at, is not ours to stop for.
        let is_folder = entry.file_type().map_or(true, |kind| kind.is_dir());
        if let (false, Ok(name)) = (is_folder, entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// True where a file has this checksum, or none is known. A file that is gone has any: its rename fails later.
pub fn has_checksum(path: &Path, expected: Option<u64>) -> Result<bool, ConnectError> {
    let Some(expected) = expected else { return Ok(true) };
    let Some(mut file) = open(path)? else { return Ok(true) };
    let (mut checksum, mut piece) = (Checksum::default(), Vec::new());
    loop {
        piece.clear();
        (&mut file).take(STEP_BYTES as u64).read_to_end(&mut piece).map_err(ConnectError::io("read", path))?;
        if piece.is_empty() {
            return Ok(checksum.digest() == expected);
        }
        checksum.update(&piece);
    }
}

/// Opens a file to read it; `None` where there is none.
fn open(path: &Path) -> Result<Option<File>, ConnectError> {
    ConnectError::unless_absent(File::open(path), "open", path)
}

/// True where two files of one length have the same bytes; `None` where one of them is gone.
pub fn is_equal(a: &Path, b: &Path) -> Result<Option<bool>, ConnectError> {
    let (Some(mut one), Some(mut other)) = (open(a)?, open(b)?) else { return Ok(None) };
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        (&mut one).take(STEP_BYTES as u64).read_to_end(&mut left).map_err(ConnectError::io("read", a))?;
        (&mut other).take(STEP_BYTES as u64).read_to_end(&mut right).map_err(ConnectError::io("read", b))?;
        if left != right {
            return Ok(Some(false));
        }
        if left.is_empty() {
            return Ok(Some(true));
        }
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), ConnectError> {
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(ConnectError::io("sync folder", folder))
}
