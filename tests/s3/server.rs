//! S3 servers as processes of their own, on a folder and a port that outlive them.
//!
//! Ours (`tests/s3-server`) is always there. Real ones are there after `cargo xtask servers`; tests that need it have
//! `on_a_real_server` in their names, and say so where there is none.

use crate::support::{Running, build_folder};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// The bucket of every server.
pub const BUCKET: &str = "bucket";
/// What both sides know.
const ACCESS_KEY: &str = "reprise-tests";
const SECRET_KEY: &str = "a secret of tests";
const REGION: &str = "us-east-1";
/// Ports from here on are tried; they lie below those that the system hands to clients, so that nobody takes one while its server is
/// down.
const PORT_MIN: u16 = 20_000;
const PORTS: u16 = 12_000;

/// Which program serves.
#[derive(Clone, Debug)]
enum Program {
    Ours(PathBuf),
    Versitygw(PathBuf),
    Minio(PathBuf),
}

impl Program {
    fn path(&self) -> &Path {
        let (Self::Ours(path) | Self::Versitygw(path) | Self::Minio(path)) = self;
        path
    }

    /// The path at which it says that it can be used; ours says it on standard output.
    fn health(&self) -> Option<&'static str> {
        match self {
            Self::Ours(_) => None,
            Self::Versitygw(_) => Some("/health"),
            Self::Minio(_) => Some("/minio/health/ready"),
        }
    }
}

/// A server with its objects. Both go away with the value.
pub struct Server {
    program: Program,
    process: Option<Running>,
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// Starts our own.
    #[track_caller]
    pub fn ours() -> Self {
        let path = build_folder().join("s3-server");
        assert!(path.is_file(), "{} is missing; `cargo xtask test` builds it", path.display());
        Self::of(Program::Ours(path))
    }

    /// Starts those that others wrote, as many as are here; says so where there is none.
    #[track_caller]
    pub fn real() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/servers");
        let programs = [Program::Versitygw(folder.join("versitygw")), Program::Minio(folder.join("minio"))];
        let present: Vec<Program> = programs.into_iter().filter(|program| program.path().is_file()).collect();
        if present.is_empty() {
            println!("no real S3 server here: `cargo xtask servers` installs one");
        }
        present.into_iter().map(Self::of).collect()
    }

    #[track_caller]
    fn of(program: Program) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        // All of them keep a bucket as a folder.
        std::fs::create_dir(folder.path().join(BUCKET)).expect("folders can be made");
        let mut server = Self { program, process: None, folder, port: free_port() };
        server.start();
        server
    }

    /// SIGKILL. Clients are refused from then on.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("a server is killed while it runs");
        process.kill();
        let ended = process.wait();
        assert!(ended.signal().is_some(), "the server ended before it was killed: {ended}");
    }

    /// Sends it a signal by its name: after `STOP` it takes connections and does not answer, until `CONT`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        self.process.as_ref().expect("it runs").signal(name);
    }

    /// Starts it, or starts it again, on the same folder and port; returns when it answers.
    #[track_caller]
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let mut process = Running::start(self.command());
        let (port, health) = (self.port, self.program.health());
        process.wait_until("the server answers", |process| match health {
            Some(path) => is_healthy(port, path),
            None => process.said().contains("listening on"),
        });
        self.process = Some(process);
    }

    fn command(&self) -> Command {
        let (folder, port) = (self.folder.path(), self.port.to_string());
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(self.program.path());
        match &self.program {
            Program::Ours(_) => command.arg(folder).arg(port).env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            Program::Versitygw(_) => {
                command.args(["--port", &address, "--health", "/health", "--region", REGION, "--quiet", "posix"]).arg(folder);
                command.env("ROOT_ACCESS_KEY", ACCESS_KEY).env("ROOT_SECRET_KEY", SECRET_KEY)
            }
            Program::Minio(_) => {
                command.args(["server", "--quiet", "--address", &address]).arg(folder);
                command.env("MINIO_ROOT_USER", ACCESS_KEY).env("MINIO_ROOT_PASSWORD", SECRET_KEY);
                command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off").env("HOME", folder)
            }
        };
        // Ours ends with its standard input, so that it does not outlive a test process that was killed.
        command.current_dir(folder).stdin(Stdio::piped());
        command
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The variables that lead a client to it.
    pub fn variables(&self) -> Vec<(String, String)> {
        variables(self.port)
    }
}

/// The variables that lead a client to a server behind this port.
pub fn variables(port: u16) -> Vec<(String, String)> {
    let endpoint = format!("http://127.0.0.1:{port}");
    let pairs = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        // What else the machine knows of buckets does not count: an empty variable is none.
        ("AWS_ENDPOINT_URL_S3", ""),
        ("AWS_SESSION_TOKEN", ""),
        ("AWS_PROFILE", ""),
        ("AWS_DEFAULT_PROFILE", ""),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", ""),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// A port of loopback that nobody uses, another one each time.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run beside each other begin at different places.
    let offset = u16::try_from(std::process::id() % u32::from(PORTS)).expect("it is below the number of ports");
    for _ in 0..PORTS {
        let port = PORT_MIN + (NEXT.fetch_add(1, Ordering::Relaxed) % PORTS + offset) % PORTS;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {PORTS} is free");
}

/// Whether a server says of itself that it can be used.
fn is_healthy(port: u16, path: &str) -> bool {
    const LIMIT: Duration = Duration::from_secs(5);
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
