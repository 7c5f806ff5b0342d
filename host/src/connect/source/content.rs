//! What a file holds, told by its first bytes: text, something packed that can be read, or something that is no rows at all.
//!
//! Names do not count: `app.log.2` may be packed and `rows.gz` may be text. With `compression = "none"` nothing is looked at, and every byte is
//! taken as it is.

use super::blocks::{Blocks, damaged};
use super::position::head_of;
use crate::connect::ConnectError;
use reprise_core::topology::Compression;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// First bytes that are looked at.
const HEAD_BYTES: u64 = 64;
/// Bytes of one read from a packed file.
const PACKED_READ_BYTES: usize = 64 << 10;
/// Memory that unpacking zstd may take for its window, as a power of two: 128 MiB, which is the most that its command line writes unasked.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// As the topology writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Text,
    /// Text or not: there are NUL bytes.
    Nul,
    Packed(Packing),
    /// What it is, and what to do.
    Foreign(&'static str, &'static str),
}

const UNPACK: &str = "unpack it first; gzip and zstd are read as they are";
const TABLE: &str = "turn it into CSV or JSON lines first";
const RECODE: &str = "turn it into UTF-8 first, as with `iconv -f UTF-16 -t UTF-8`";

const MAGIC: [(&[u8], Seen); 11] = [
    (b"\x1f\x8b\x08", Seen::Packed(Packing::Gzip)),
    (b"\x28\xb5\x2f\xfd", Seen::Packed(Packing::Zstd)),
    (b"BZh91AY&SY", Seen::Foreign("packed by bzip2", UNPACK)),
    (b"\xfd7zXZ\0", Seen::Foreign("packed by xz", UNPACK)),
    (b"\x04\x22\x4d\x18", Seen::Foreign("packed by lz4", UNPACK)),
    (b"PK\x03\x04", Seen::Foreign("a zip archive", UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Seen::Foreign("a 7z archive", UNPACK)),
    (b"PAR1\x15", Seen::Foreign("a Parquet file", TABLE)),
    (b"Obj\x01", Seen::Foreign("an Avro file", TABLE)),
    (b"\xff\xfe", Seen::Foreign("text in UTF-16", RECODE)),
    (b"\xfe\xff", Seen::Foreign("text in UTF-16", RECODE)),
];

fn look(head: &[u8]) -> Seen {
    if let Some((_, seen)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return *seen;
    }
    // Zstd may begin with a frame to be skipped.
    if matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) {
        return Seen::Packed(Packing::Zstd);
    }
    let (pairs, _) = head.as_chunks::<2>();
    let is_wide = |text: usize| pairs.len() >= 4 && pairs.iter().all(|pair| pair[1 - text] == 0 && pair[text] != 0);
    match head.contains(&0) {
        _ if is_wide(0) || is_wide(1) => Seen::Foreign("text in UTF-16", RECODE),
        true => Seen::Nul,
        false => Seen::Text,
    }
}

/// How an input that begins with `head` is packed; `None` where it is not.
///
/// # Errors
/// [`ConnectError::Config`] where it is nothing that a source can read, or not what the setting says.
pub fn packing(path: &Path, head: &[u8], compression: Compression) -> Result<Option<Packing>, ConnectError> {
    let refuse = |is: &str, help: &str| ConnectError::Config { what: format!("input `{}` {is}", path.display()), help: help.to_owned() };
    let wanted = match compression {
        Compression::None => return Ok(None),
        Compression::Auto => None,
        Compression::Gzip => Some(Packing::Gzip),
        Compression::Zstd => Some(Packing::Zstd),
    };
    match (look(head), wanted) {
        (Seen::Packed(found), Some(packing)) if found == packing => Ok(Some(packing)),
        (_, Some(packing)) if !head.is_empty() => {
            let help = "write `compression = \"auto\"`, or let `path` leave it out";
            Err(refuse(&format!("is not packed by {}", packing.word()), help))
        }
        (Seen::Packed(found), None) => Ok(Some(found)),
        (Seen::Foreign(kind, help), _) => {
            let help = format!("{help}, or let `path` leave it out; `compression = \"none\"` takes every byte as it is");
            Err(refuse(&format!("is {kind}"), &help))
        }
        (Seen::Nul, _) => {
            tracing::warn!("input `{}` begins with NUL bytes among its text; is it binary, or does it have a hole?", path.display());
            Ok(None)
        }
        (Seen::Text | Seen::Packed(_), _) => Ok(None),
    }
}

/// As [`packing`], of a file.
///
/// # Errors
/// Also [`ConnectError::Io`].
pub fn packing_of(path: &Path, compression: Compression) -> Result<Option<Packing>, ConnectError> {
    packing(path, &head_of(path, HEAD_BYTES)?, compression)
}

/// Blocks of what a packed file holds, from `offset` on, which counts unpacked bytes: everything before is unpacked and dropped.
///
/// # Errors
/// [`ConnectError::Io`]; [`ConnectError::Changed`] where there are not so many bytes.
pub fn unpack(file: File, path: &Path, packing: Packing, offset: u64) -> Result<Blocks, ConnectError> {
    let file = BufReader::with_capacity(PACKED_READ_BYTES, file);
    let mut stream: Box<dyn Read + Send> = match packing {
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(file).map_err(ConnectError::io("unpack", path))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(ConnectError::io("unpack", path))?;
            Box::new(decoder)
        }
    };
    let passed = io::copy(&mut stream.by_ref().take(offset), &mut io::sink()).map_err(|error| damaged(path, 0, &error))?;
    if passed < offset {
        let what = format!("it holds {passed} bytes unpacked: it was truncated or replaced");
        return Err(ConnectError::Changed { path: path.to_path_buf(), offset, what });
    }
    Ok(Blocks::packed(stream, path, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_is_shows_in_its_first_bytes() {
        for (head, expect) in [
            (&b"a,b\n1,2\n"[..], Seen::Text),
            (b"", Seen::Text),
            (b"\x1f\x8b\x08\x00", Seen::Packed(Packing::Gzip)),
            (b"\x28\xb5\x2f\xfd\x24", Seen::Packed(Packing::Zstd)),
            (b"\x50\x2a\x4d\x18\x00\x00\x00\x00", Seen::Packed(Packing::Zstd)),
            (b"a\0\0\0\0\0\0\0\0\0", Seen::Nul),
            (b"a\0,\0b\0\n\0", Seen::Foreign("text in UTF-16", RECODE)),
            (b"\0a\0,\0b\0\n", Seen::Foreign("text in UTF-16", RECODE)),
            (b"PK\x03\x04", Seen::Foreign("a zip archive", UNPACK)),
            (b"PAR1,PAR2\n", Seen::Text),
            (b"BZhang,1\n", Seen::Text),
        ] {
            assert_eq!(look(head), expect, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn settings_decide_what_is_unpacked() {
        let path = Path::new("in");
        let gzip = b"\x1f\x8b\x08\x00";
        assert_eq!(packing(path, gzip, Compression::Auto).unwrap(), Some(Packing::Gzip));
        assert_eq!(packing(path, gzip, Compression::None).unwrap(), None);
        assert_eq!(packing(path, b"", Compression::Gzip).unwrap(), None);
        assert!(packing(path, gzip, Compression::Zstd).unwrap_err().to_string().contains("is not packed by zstd"));
        assert!(packing(path, b"text", Compression::Gzip).is_err());
        let error = packing(path, b"\xff\xfea\0", Compression::Auto).unwrap_err().to_string();
        assert!(error.contains("UTF-16") && error.contains("iconv"), "{error}");
    }
}
