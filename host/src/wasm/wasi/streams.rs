//! `wasi:io` and the standard streams: nothing to read but files, nothing to write but the log, and no wait that takes time.

use super::asked::asked;
use super::bindings::cli::{stderr, stdin, stdout};
use super::bindings::io::{error, poll, streams};
use super::folder::code_of;
use super::resources::{InputStream, IoError, OutputStream, Pollable, read_file};
use super::state::{Ended, Line, READ_BYTES_MAX, WRITE_BYTES_MAX};
use crate::wasm::guest::GuestState;
use crate::wasm::log::Level;
use streams::StreamError;
use wasmtime::Result;
use wasmtime::component::Resource;

/// An answer, or an error that the guest is told.
type Reply<T> = Result<T, StreamError>;

impl GuestState {
    fn line(&mut self, stream: OutputStream) -> (&mut Line, Level) {
        match stream {
            OutputStream::Out => (&mut self.wasi.out, Level::Info),
            OutputStream::Err => (&mut self.wasi.err, Level::Warn),
        }
    }

    fn print(&mut self, stream: OutputStream, contents: &[u8]) {
        let mut lines = contents.split(|byte| *byte == b'\n').peekable();
        while let Some(bytes) = lines.next() {
            let (line, level) = self.line(stream);
            line.extend(bytes);
            if lines.peek().is_some() {
                let text = line.take();
                self.write_line(level, &text);
            }
        }
    }

    /// Logs the lines that were begun and not ended, at the end of a call: the next call may come on another instance.
    pub(in crate::wasm) fn end_lines(&mut self) {
        for stream in [OutputStream::Out, OutputStream::Err] {
            let (line, level) = self.line(stream);
            if line.begun {
                let text = line.take();
                self.write_line(level, &text);
            }
        }
    }

    /// Gives a handle back.
    pub(super) fn release<T: 'static>(&mut self, handle: Resource<T>) -> Result<()> {
        self.wasi.table.delete(handle)?;
        Ok(())
    }

    fn write_to(&mut self, stream: &Resource<OutputStream>, contents: &[u8]) -> Result<Reply<()>> {
        if contents.len() as u64 > WRITE_BYTES_MAX {
            return Err(Ended::Write(contents.len() as u64).into());
        }
        let stream = *self.wasi.table.get(stream)?;
        self.print(stream, contents);
        Ok(Ok(()))
    }

    fn write_zeroes_to(&mut self, stream: &Resource<OutputStream>, len: u64) -> Result<Reply<()>> {
        let zeroes = usize::try_from(len).ok().filter(|_| len <= WRITE_BYTES_MAX).ok_or(Ended::Write(len))?;
        self.write_to(stream, &vec![0; zeroes])
    }

    fn read_from(&mut self, stream: &Resource<InputStream>, len: u64) -> Result<Reply<Vec<u8>>> {
        let InputStream::File { file, at } = self.wasi.table.get_mut(stream)? else { return Ok(Err(StreamError::Closed)) };
        let wanted = usize::try_from(len.min(READ_BYTES_MAX)).expect("64 KiB fit");
        match read_file(file, *at, wanted) {
            Ok(bytes) if bytes.is_empty() && len > 0 => Ok(Err(StreamError::Closed)),
            Ok(bytes) => {
                *at = at.saturating_add(bytes.len() as u64);
                Ok(Ok(bytes))
            }
            Err(error) => Ok(Err(StreamError::LastOperationFailed(self.wasi.push(IoError { kind: error.kind() })?))),
        }
    }

    fn pass(&mut self, stream: &Resource<InputStream>, len: u64) -> Result<Reply<u64>> {
        Ok(self.read_from(stream, len)?.map(|bytes| bytes.len() as u64))
    }

    fn move_from(&mut self, from: &Resource<InputStream>, to: &Resource<OutputStream>, len: u64) -> Result<Reply<u64>> {
        match self.read_from(from, len.min(WRITE_BYTES_MAX))? {
            Ok(bytes) => Ok(self.write_to(to, &bytes)?.map(|()| bytes.len() as u64)),
            Err(error) => Ok(Err(error)),
        }
    }
}

impl error::Host for GuestState {}

impl error::HostError for GuestState {
    asked! {
        to_debug_string(self, error: Resource<IoError>) -> String = Ok(format!("{:?}", code_of(self.wasi.table.get(&error)?.kind)));
        drop(self, error: Resource<IoError>) -> () = self.release(error);
    }
}

impl poll::Host for GuestState {
    asked! {
        /// Where nothing is ready yet, time goes on to the first instant that is waited for.
        poll(self, pollables: Vec<Resource<Pollable>>) -> Vec<u32> = {
            let instants = pollables.iter().map(|pollable| self.wasi.table.get(pollable).map(|waits| waits.instant_ns()));
            let instants: Vec<u64> = instants.collect::<Result<_, _>>()?;
            let first = *instants.iter().min().ok_or(Ended::Poll)?;
            self.sleep_until_ns(first);
            let now = self.instant_ns();
            Ok((0u32..).zip(instants).filter(|(_, instant)| *instant <= now).map(|(index, _)| index).collect())
        };
    }
}

impl poll::HostPollable for GuestState {
    asked! {
        ready(self, pollable: Resource<Pollable>) -> bool = Ok(self.wasi.table.get(&pollable)?.instant_ns() <= self.instant_ns());
        block(self, pollable: Resource<Pollable>) -> () = {
            if let Pollable::At(instant) = *self.wasi.table.get(&pollable)? {
                self.sleep_until_ns(instant);
            }
            Ok(())
        };
        drop(self, pollable: Resource<Pollable>) -> () = self.release(pollable);
    }
}

impl streams::Host for GuestState {}

impl streams::HostInputStream for GuestState {
    asked! {
        read(self, stream: Resource<InputStream>, len: u64) -> Reply<Vec<u8>> = self.read_from(&stream, len);
        blocking_read(self, stream: Resource<InputStream>, len: u64) -> Reply<Vec<u8>> = self.read_from(&stream, len);
        skip(self, stream: Resource<InputStream>, len: u64) -> Reply<u64> = self.pass(&stream, len);
        blocking_skip(self, stream: Resource<InputStream>, len: u64) -> Reply<u64> = self.pass(&stream, len);
        subscribe(self, _: Resource<InputStream>) -> Resource<Pollable> = self.wasi.push(Pollable::Ready);
        drop(self, stream: Resource<InputStream>) -> () = self.release(stream);
    }
}

impl streams::HostOutputStream for GuestState {
    asked! {
        check_write(self, _: Resource<OutputStream>) -> Reply<u64> = Ok(Ok(WRITE_BYTES_MAX));
        flush(self, _: Resource<OutputStream>) -> Reply<()> = Ok(Ok(()));
        blocking_flush(self, _: Resource<OutputStream>) -> Reply<()> = Ok(Ok(()));
        write(self, stream: Resource<OutputStream>, contents: Vec<u8>) -> Reply<()> = self.write_to(&stream, &contents);
        blocking_write_and_flush(self, stream: Resource<OutputStream>, contents: Vec<u8>) -> Reply<()> = self.write_to(&stream, &contents);
        subscribe(self, _: Resource<OutputStream>) -> Resource<Pollable> = self.wasi.push(Pollable::Ready);
        write_zeroes(self, stream: Resource<OutputStream>, len: u64) -> Reply<()> = self.write_zeroes_to(&stream, len);
        blocking_write_zeroes_and_flush(self, stream: Resource<OutputStream>, len: u64) -> Reply<()> = self.write_zeroes_to(&stream, len);
        splice(self, to: Resource<OutputStream>, from: Resource<InputStream>, len: u64) -> Reply<u64> = self.move_from(&from, &to, len);
        blocking_splice(self, to: Resource<OutputStream>, from: Resource<InputStream>, len: u64) -> Reply<u64> =
            self.move_from(&from, &to, len);
        drop(self, stream: Resource<OutputStream>) -> () = self.release(stream);
    }
}

impl stdin::Host for GuestState {
    asked! { get_stdin(self) -> Resource<InputStream> = self.wasi.push(InputStream::Empty); }
}

impl stdout::Host for GuestState {
    asked! { get_stdout(self) -> Resource<OutputStream> = self.wasi.push(OutputStream::Out); }
}

impl stderr::Host for GuestState {
    asked! { get_stderr(self) -> Resource<OutputStream> = self.wasi.push(OutputStream::Err); }
}
