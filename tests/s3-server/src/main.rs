//! `s3-server FOLDER PORT`: an S3 server on loopback that keeps its objects in a folder. For tests: nothing else should trust it.
//!
//! Buckets are the folders in FOLDER. The credentials are those of the environment, `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
//! It prints `listening on ADDRESS` when it can be reached; port 0 takes one that is free. It ends when its standard input does, so
//! that it does not outlive the test that started it. It may be killed at any moment and started again on the same folder.

mod atomic;
mod service;

use std::io::Read;
use std::process::ExitCode;

use s3s::auth::SimpleAuth;
use tokio::net::TcpListener;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn run() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, port] = arguments.as_slice() else { return Err("usage: s3-server FOLDER PORT".into()) };
    let port: u16 = port.parse().map_err(|error| format!("{port} is no port: {error}"))?;
    let variable = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let auth = SimpleAuth::from_single(variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
    let service = service::Service::new(folder, Some(auth))?;
    std::thread::spawn(|| {
        // An error is an end too.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(serve(service, port))
}

async fn serve(service: service::Service, port: u16) -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(service.clone().connection(stream));
    }
}
