//! Reads requests and answers of HTTP/1.1 as whole byte strings, with their bodies, without looking into them.

use std::io::{BufRead, Error, ErrorKind, Read, Result};

/// The longest head and the longest body that a test makes.
const HEAD_BYTES_MAX: usize = 64 << 10;
const BODY_BYTES_MAX: u64 = 256 << 20;

/// A request or an answer, as it came.
pub struct Message {
    /// The first line, without its end.
    pub start: String,
    /// All bytes, head and body.
    pub bytes: Vec<u8>,
    /// Nothing follows it on this connection.
    pub closes: bool,
}

/// How long a body is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Bytes(u64),
    Chunks,
    /// As long as the connection lasts.
    Open,
}

/// Reads a request. Nothing where the client has hung up before it.
pub fn read_request(from: &mut impl BufRead) -> Result<Option<Message>> {
    if from.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let (mut message, length) = read_head(from)?;
    // A request without a length has no body.
    read_body(from, if length == Length::Open { Length::Bytes(0) } else { length }, &mut message.bytes)?;
    Ok(Some(message))
}

/// Reads the answer to a request.
pub fn read_answer(from: &mut impl BufRead, request: &Message) -> Result<Message> {
    let (mut message, mut length) = read_head(from)?;
    let status = message.start.split(' ').nth(1).unwrap_or_default();
    if request.start.starts_with("HEAD ") || ["204", "304"].contains(&status) {
        length = Length::Bytes(0);
    }
    message.closes |= length == Length::Open;
    read_body(from, length, &mut message.bytes)?;
    Ok(message)
}

fn read_head(from: &mut impl BufRead) -> Result<(Message, Length)> {
    let mut message = Message { start: String::new(), bytes: Vec::new(), closes: false };
    let mut length = Length::Open;
    while message.bytes.len() < HEAD_BYTES_MAX {
        let line = read_line(from, &mut message.bytes)?;
        if line.is_empty() {
            return Ok((message, length));
        }
        if message.start.is_empty() {
            message.start = line;
            continue;
        }
        let (name, value) = line.split_once(':').map_or((line.as_str(), ""), |(name, value)| (name, value.trim()));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = Length::Bytes(value.parse().map_err(|_| broken("a length that is no number"))?),
            "transfer-encoding" => length = Length::Chunks,
            "connection" => message.closes = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    Err(broken("a head without an end"))
}

fn read_body(from: &mut impl BufRead, length: Length, into: &mut Vec<u8>) -> Result<()> {
    match length {
        Length::Bytes(bytes) => read_bytes(from, bytes, into),
        Length::Open => from.take(BODY_BYTES_MAX).read_to_end(into).map(drop),
        Length::Chunks => loop {
            let line = read_line(from, into)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| broken("a chunk without a length"))?;
            if size == 0 {
                // Trailers, and the empty line after them.
                while !read_line(from, into)?.is_empty() {}
                return Ok(());
            }
            read_bytes(from, size, into)?;
            read_line(from, into)?;
        },
    }
}

fn read_bytes(from: &mut impl BufRead, bytes: u64, into: &mut Vec<u8>) -> Result<()> {
    if bytes > BODY_BYTES_MAX {
        return Err(broken("a body that no test sends"));
    }
    let read = from.take(bytes).read_to_end(into)?;
    if read as u64 == bytes { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// Reads a line into `into`, and returns it without its end.
fn read_line(from: &mut impl BufRead, into: &mut Vec<u8>) -> Result<String> {
    let begin = into.len();
    from.take(HEAD_BYTES_MAX as u64).read_until(b'\n', into)?;
    let line = &into[begin..];
    match line.strip_suffix(b"\n") {
        Some(line) => Ok(String::from_utf8_lossy(line).trim_end_matches('\r').to_owned()),
        None => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
