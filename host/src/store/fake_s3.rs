//! A server for tests that speaks as much of S3 as the store uses, in this process and on loopback, with faults on demand.
//!
//! One lock over all objects makes its conditional create atomic. It checks no signatures.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the server does to a request instead of answering it as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFault {
    /// Does as asked, and closes the connection without an answer.
    DropAnswer,
    /// Closes the connection, having done nothing.
    DropRequest,
    /// Answers with this status, having done nothing.
    Status(u16),
    /// Answers nothing, for ever, having done as asked.
    Hang,
    /// Ignores that the object exists.
    Overwrite,
    /// None: this request is answered as it should be.
    Spare,
}

#[derive(Default)]
struct Inside {
    objects: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    uploads_begun: u64,
    /// The next requests of a method, and what befalls them.
    faults: VecDeque<(&'static str, ServerFault)>,
    /// Every so many requests, one of these in turn.
    rhythm: Option<(usize, Vec<ServerFault>)>,
    requests: usize,
    log: Vec<String>,
}

/// A running server. It ends with the process.
#[derive(Clone)]
pub struct FakeS3 {
    inside: Arc<Mutex<Inside>>,
    port: u16,
}

struct Request {
    method: String,
    /// Without the leading `/`.
    key: String,
    query: BTreeMap<String, String>,
    is_conditional: bool,
    /// Bucket and key to copy from.
    copied: Option<String>,
    body: Vec<u8>,
}

struct Answer(u16, Vec<u8>);

impl FakeS3 {
    /// Starts a server.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of loopback is free");
        let port = listener.local_addr().expect("it is bound").port();
        let server = Self { inside: Arc::default(), port };
        let accepting = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = accepting.clone();
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        server
    }

    /// The variables that lead a client here.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_REGION", "nowhere-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
    }

    /// Lets a fault befall the next request of this method that has none yet.
    pub fn fail_next(&self, method: &'static str, fault: ServerFault) {
        self.lock().faults.push_back((method, fault));
    }

    /// Lets a fault befall every `period`-th request, each of `faults` in turn.
    pub fn fail_every(&self, period: usize, faults: &[ServerFault]) {
        self.lock().rhythm = Some((period, faults.to_vec()));
    }

    /// Methods and keys of the requests so far, and forgets them.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().log)
    }

    /// Uploads that were begun, and neither completed nor given up.
    pub fn open_uploads(&self) -> usize {
        self.lock().uploads.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            let (fault, answer) = self.handle(&request);
            match fault {
                Some(ServerFault::DropAnswer | ServerFault::DropRequest) => return,
                Some(ServerFault::Hang) => std::thread::park(),
                _ => {}
            }
            if write_answer(reader.get_mut(), &request, answer).is_err() {
                return;
            }
        }
    }

    fn handle(&self, request: &Request) -> (Option<ServerFault>, Answer) {
        let mut inside = self.lock();
        let query: Vec<&str> = request.query.keys().map(String::as_str).collect();
        inside.log.push(format!("{} {} {}", request.method, request.key, query.join("&")).trim_end().to_owned());
        let fault = inside.next_fault(&request.method);
        let answer = match fault {
            Some(ServerFault::DropRequest) => Answer(500, Vec::new()),
            Some(ServerFault::Status(status)) => Answer(status, b"<Error><Code>ServerFault</Code></Error>".to_vec()),
            _ => inside.answer(request, fault == Some(ServerFault::Overwrite)),
        };
        (fault, answer)
    }
}

impl Inside {
    fn next_fault(&mut self, method: &str) -> Option<ServerFault> {
        self.requests += 1;
        if let Some(place) = self.faults.iter().position(|(awaited, _)| *awaited == method) {
            return self.faults.remove(place).map(|(_, fault)| fault);
        }
        let (period, faults) = self.rhythm.as_ref()?;
        self.requests.is_multiple_of(*period).then(|| faults[self.requests / period % faults.len()])
    }

    fn answer(&mut self, request: &Request, overwrites: bool) -> Answer {
        let key = request.key.as_str();
        match (request.method.as_str(), request.query.get("uploadId")) {
            ("PUT", Some(upload)) => self.put_part(upload, request),
            ("POST", Some(upload)) => self.complete(upload, key),
            ("DELETE", Some(upload)) => {
                self.uploads.remove(upload);
                Answer(204, Vec::new())
            }
            ("POST", None) if request.query.contains_key("uploads") => self.begin(key),
            ("PUT", None) if request.is_conditional && self.objects.contains_key(key) && !overwrites => Answer(412, Vec::new()),
            ("PUT", None) if request.copied.is_some() => self.copy(request),
            ("PUT", None) => {
                self.objects.insert(key.to_owned(), request.body.clone());
                Answer(200, Vec::new())
            }
            ("GET", None) if request.query.contains_key("list-type") => self.list(request),
            ("GET" | "HEAD", None) => self.objects.get(key).map_or(Answer(404, Vec::new()), |bytes| Answer(200, bytes.clone())),
            ("DELETE", None) => {
                self.objects.remove(key);
                Answer(204, Vec::new())
            }
            _ => Answer(501, Vec::new()),
        }
    }

    fn copy(&mut self, request: &Request) -> Answer {
        let Some(bytes) = request.copied.as_ref().and_then(|from| self.objects.get(from)).cloned() else { return Answer(404, Vec::new()) };
        self.objects.insert(request.key.clone(), bytes);
        Answer(200, b"<CopyObjectResult><ETag>\"e\"</ETag></CopyObjectResult>".to_vec())
    }

    fn begin(&mut self, key: &str) -> Answer {
        self.uploads_begun += 1;
        let upload = format!("upload{}", self.uploads_begun);
        self.uploads.insert(upload.clone(), BTreeMap::new());
        let (bucket, key) = key.split_once('/').unwrap_or((key, ""));
        let result = format!("<Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{upload}</UploadId>");
        Answer(200, format!("<InitiateMultipartUploadResult>{result}</InitiateMultipartUploadResult>").into_bytes())
    }

    fn put_part(&mut self, upload: &str, request: &Request) -> Answer {
        let number = request.query.get("partNumber").and_then(|number| number.parse().ok());
        match (self.uploads.get_mut(upload), number) {
            (Some(parts), Some(number)) => {
                parts.insert(number, request.body.clone());
                Answer(200, Vec::new())
            }
            _ => Answer(404, Vec::new()),
        }
    }

    fn complete(&mut self, upload: &str, key: &str) -> Answer {
        let Some(parts) = self.uploads.remove(upload) else { return Answer(404, Vec::new()) };
        self.objects.insert(key.to_owned(), parts.into_values().flatten().collect());
        let (bucket, key) = key.split_once('/').unwrap_or((key, ""));
        let result = format!("<Bucket>{bucket}</Bucket><Key>{key}</Key><ETag>\"e\"</ETag><Location>here</Location>");
        Answer(200, format!("<CompleteMultipartUploadResult>{result}</CompleteMultipartUploadResult>").into_bytes())
    }

    /// Pages of 500 objects.
    fn list(&self, request: &Request) -> Answer {
        let within = format!("{}/{}", request.key.trim_end_matches('/'), request.query.get("prefix").map_or("", String::as_str));
        let bucket = request.key.trim_end_matches('/').len() + 1;
        let start = request.query.get("start-after").map(|key| format!("{}/{key}", request.key.trim_end_matches('/')));
        let after = request.query.get("continuation-token").cloned().or(start).unwrap_or_default();
        let mut keys = self.objects.iter().filter(|(key, _)| key.starts_with(&within) && **key > after);
        let page: Vec<_> = keys.by_ref().take(500).collect();
        let contents: String = page.iter().map(|(key, bytes)| content(&key[bucket..], bytes.len())).collect();
        let next = match (keys.next(), page.last()) {
            (Some(_), Some((last, _))) => format!("<NextContinuationToken>{last}</NextContinuationToken>"),
            _ => String::new(),
        };
        Answer(200, format!("<ListBucketResult>{contents}{next}</ListBucketResult>").into_bytes())
    }
}

fn content(key: &str, size_bytes: usize) -> String {
    let key = key.replace('&', "&amp;");
    format!("<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>{size_bytes}</Size></Contents>")
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (key, query) = (decoded(path.trim_start_matches('/')), query_of(query));
    let (mut length, mut is_conditional, mut copied) = (0_usize, false, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "x-amz-copy-source" => copied = Some(decoded(value.trim().trim_start_matches('/'))),
            "if-none-match" => is_conditional = value.trim() == "*",
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, key, query, is_conditional, copied, body })
}

fn query_of(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(name, value)| (decoded(name), decoded(value))).collect()
}

/// Undoes percent encoding.
fn decoded(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(piece.get(..2).unwrap_or_default(), 16).unwrap_or(b'?'));
        bytes.extend_from_slice(piece.get(2..).unwrap_or_default().as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn write_answer(stream: &mut TcpStream, request: &Request, Answer(status, body): Answer) -> std::io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nETag: \"e\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n");
    // In one write: a second one would wait for the acknowledgement of the first.
    let mut answer = head.into_bytes();
    if request.method != "HEAD" {
        answer.extend_from_slice(&body);
    }
    stream.write_all(&answer)
}
