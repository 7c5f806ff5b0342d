//! A proxy between a client and an S3 server on loopback, which lets faults befall some of the requests, drawn from a seed, and counts
//! them.
//!
//! It reads each request and each answer whole, so that it knows where it cuts. Which request has a fault depends on the seed and on how
//! many requests came before; since clients send several at a time, two runs with one seed are alike, not equal.

use super::http::{Message, read_answer, read_request};
use reprise_core::random::{mix, nth};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What befalls a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset before anything was read.
    Refused,
    /// The connection ends inside of the request: the server sees a part of it, or nothing.
    RequestCut,
    /// The server does as asked; the connection ends before a byte of the answer.
    AnswerLost,
    /// The server does as asked; the connection ends inside of the answer.
    AnswerCut,
    /// Request and answer trickle through in small pieces, with waits in between.
    Slow,
    /// `503 SlowDown`; the server does not hear of the request.
    Throttled,
    /// Nothing, until the client gives up; the server does not hear of the request.
    Swallowed,
}

/// Every fault.
pub const FAULTS: [Fault; 7] =
    [Fault::Refused, Fault::RequestCut, Fault::AnswerLost, Fault::AnswerCut, Fault::Slow, Fault::Throttled, Fault::Swallowed];

/// Bytes of a slow message that go one by one.
const TRICKLED_BYTES: usize = 12;
/// Pieces of the rest of it.
const TRICKLED_PIECES: usize = 8;
/// The longest wait between two pieces, which bounds a slow message to some tens of milliseconds.
const TRICKLE_WAIT_US_MAX: u64 = 4_000;
const SLOW_DOWN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message><RequestId>0</RequestId></Error>";

struct Inside {
    upstream: u16,
    seed: u64,
    one_in: u64,
    faults: Vec<Fault>,
    requests: AtomicU64,
    fired: [AtomicU64; FAULTS.len()],
    is_over: AtomicBool,
}

/// A running proxy. It takes no more connections when the value goes away.
pub struct Proxy {
    inside: Arc<Inside>,
    port: u16,
}

impl Proxy {
    /// Starts one before the server at the port `upstream`. Of `one_in` requests one has a fault, on average: one of `faults`.
    pub fn start(upstream: u16, seed: u64, one_in: u64, faults: &[Fault]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (requests, fired, is_over) = Default::default();
        let inside = Arc::new(Inside { upstream, seed, one_in, faults: faults.to_vec(), requests, fired, is_over });
        let accepting = Arc::clone(&inside);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let serving = Arc::clone(&accepting);
                // A connection that breaks is what this is for.
                std::thread::spawn(move || drop(serving.serve(client)));
            }
        });
        Self { inside, port }
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How often a fault befell a request.
    pub fn fired(&self, fault: Fault) -> u64 {
        self.inside.fired[place(fault)].load(Ordering::Relaxed)
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.inside.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.inside.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts; where that fails it has ended.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn place(fault: Fault) -> usize {
    FAULTS.iter().position(|other| *other == fault).expect("the list has every fault")
}

impl Inside {
    /// What befalls the next request, and a random word.
    fn draw(&self) -> (Option<Fault>, u64) {
        let word = nth(self.seed, self.requests.fetch_add(1, Ordering::Relaxed));
        let fault = word.is_multiple_of(self.one_in).then(|| self.faults[usize::from((word >> 32) as u16) % self.faults.len()]);
        if let Some(fault) = fault {
            self.fired[place(fault)].fetch_add(1, Ordering::Relaxed);
        }
        (fault, mix(word))
    }

    fn serve(&self, client: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        let mut client = BufReader::new(client);
        let mut server: Option<BufReader<TcpStream>> = None;
        loop {
            // Waits for the first byte without taking it: a socket that is closed with bytes unread is reset.
            if client.get_ref().peek(&mut [0])? == 0 {
                return Ok(());
            }
            let (fault, word) = self.draw();
            if fault == Some(Fault::Refused) {
                return Ok(());
            }
            let Some(request) = read_request(&mut client)? else { return Ok(()) };
            match fault {
                Some(Fault::Throttled) => {
                    let length = SLOW_DOWN.len();
                    let head =
                        format!("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n");
                    let body = if request.start.starts_with("HEAD ") { "" } else { SLOW_DOWN };
                    client.get_mut().write_all(format!("{head}{body}").as_bytes())?;
                    continue;
                }
                Some(Fault::Swallowed) => return client.read_to_end(&mut Vec::new()).map(drop),
                _ => {}
            }
            let upstream = match &mut server {
                Some(upstream) => upstream,
                none => none.insert(BufReader::new(connect(self.upstream)?)),
            };
            let Some(answer) = pass(&request, upstream, fault, word)? else { return Ok(()) };
            match fault {
                Some(Fault::AnswerLost) => return Ok(()),
                Some(Fault::AnswerCut) => return client.get_mut().write_all(&answer.bytes[..1 + at(word, answer.bytes.len() - 1)]),
                Some(Fault::Slow) => trickle(client.get_mut(), &answer.bytes, word)?,
                _ => client.get_mut().write_all(&answer.bytes)?,
            }
            if answer.closes {
                return Ok(());
            }
        }
    }
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a request on, and reads its answer; nothing where the request was cut.
fn pass(request: &Message, server: &mut (impl BufRead + Stream), fault: Option<Fault>, word: u64) -> std::io::Result<Option<Message>> {
    match fault {
        Some(Fault::RequestCut) => {
            server.stream().write_all(&request.bytes[..at(word, request.bytes.len())])?;
            return Ok(None);
        }
        Some(Fault::Slow) => trickle(server.stream(), &request.bytes, word)?,
        _ => server.stream().write_all(&request.bytes)?,
    }
    read_answer(server, request).map(Some)
}

/// The other direction of a buffered connection.
trait Stream {
    fn stream(&mut self) -> &mut TcpStream;
}

impl Stream for BufReader<TcpStream> {
    fn stream(&mut self) -> &mut TcpStream {
        self.get_mut()
    }
}

/// Writes some bytes one by one, and the rest in pieces.
fn trickle(to: &mut TcpStream, bytes: &[u8], mut word: u64) -> std::io::Result<()> {
    let (singly, rest) = bytes.split_at(bytes.len().min(TRICKLED_BYTES));
    for piece in singly.chunks(1).chain(rest.chunks(rest.len().div_ceil(TRICKLED_PIECES).max(1))) {
        to.write_all(piece)?;
        word = mix(word);
        std::thread::sleep(Duration::from_micros(word % TRICKLE_WAIT_US_MAX));
    }
    Ok(())
}

/// A place below `end`, or 0.
fn at(word: u64, end: usize) -> usize {
    usize::try_from(word % (end as u64).max(1)).expect("it is below a length")
}
