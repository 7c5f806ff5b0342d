//! `wasi:io` and the standard streams: nothing to read but files, nothing to write but the log, and no wait that takes time.

use super::bindings::cli::{stderr, stdin, stdout};
use super::bindings::io::{error, poll, streams};
use super::fixed::fixed;
use super::folder::code_of;
use super::resources::{InputStream, IoError, OutputStream, Pollable, read_file};
use super::state::{Ended, Line, READ_BYTES_MAX, WRITE_BYTES_MAX};
use crate::wasm::guest::GuestState;
use crate::wasm::log::Level;
use streams::StreamError;
use wasmtime::Result;
use wasmtime::component::Resource;

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
        self.check_asked()?;
        self.wasi.table.delete(handle)?;
        Ok(())
    }

    fn write_to(&mut self, stream: &Resource<OutputStream>, contents: &[u8]) -> Result<Result<(), StreamError>> {
        if contents.len() as u64 > WRITE_BYTES_MAX {
            return Err(Ended::Write(contents.len() as u64).into());
        }
        let stream = *self.wasi.table.get(stream)?;
        self.print(stream, contents);
        Ok(Ok(()))
    }

    fn write_zeroes_to(&mut self, stream: &Resource<OutputStream>, len: u64) -> Result<Result<(), StreamError>> {
        let zeroes = usize::try_from(len).ok().filter(|_| len <= WRITE_BYTES_MAX).ok_or(Ended::Write(len))?;
        self.write_to(stream, &vec![0; zeroes])
    }

    fn read_from(&mut self, stream: &Resource<InputStream>, len: u64) -> Result<Result<Vec<u8>, StreamError>> {
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
}

impl error::Host for GuestState {}

impl error::HostError for GuestState {
    fn to_debug_string(&mut self, error: Resource<IoError>) -> Result<String> {
        self.check_asked()?;
        Ok(format!("{:?}", code_of(self.wasi.table.get(&error)?.kind)))
    }

    fn drop(&mut self, error: Resource<IoError>) -> Result<()> {
        self.release(error)
    }
}

impl poll::Host for GuestState {
    /// Where nothing is ready yet, time goes on to the first instant that is waited for.
    fn poll(&mut self, pollables: Vec<Resource<Pollable>>) -> Result<Vec<u32>> {
        self.check_asked()?;
        let mut instants = Vec::with_capacity(pollables.len());
        for pollable in &pollables {
            instants.push(match self.wasi.table.get(pollable)? {
                Pollable::Ready => 0,
                Pollable::At(instant) => *instant,
            });
        }
        let first = *instants.iter().min().ok_or(Ended::Poll)?;
        self.sleep_until_ns(first);
        let now = self.instant_ns();
        Ok((0u32..).zip(instants).filter(|(_, instant)| *instant <= now).map(|(index, _)| index).collect())
    }
}

impl poll::HostPollable for GuestState {
    fn ready(&mut self, pollable: Resource<Pollable>) -> Result<bool> {
        self.check_asked()?;
        let now = self.instant_ns();
        Ok(match self.wasi.table.get(&pollable)? {
            Pollable::Ready => true,
            Pollable::At(instant) => *instant <= now,
        })
    }

    fn block(&mut self, pollable: Resource<Pollable>) -> Result<()> {
        self.check_asked()?;
        if let Pollable::At(instant) = *self.wasi.table.get(&pollable)? {
            self.sleep_until_ns(instant);
        }
        Ok(())
    }

    fn drop(&mut self, pollable: Resource<Pollable>) -> Result<()> {
        self.release(pollable)
    }
}

impl streams::Host for GuestState {}

impl streams::HostInputStream for GuestState {
    fn read(&mut self, stream: Resource<InputStream>, len: u64) -> Result<Result<Vec<u8>, StreamError>> {
        self.check_asked()?;
        self.read_from(&stream, len)
    }

    fn blocking_read(&mut self, stream: Resource<InputStream>, len: u64) -> Result<Result<Vec<u8>, StreamError>> {
        self.check_asked()?;
        self.read_from(&stream, len)
    }

    fn skip(&mut self, stream: Resource<InputStream>, len: u64) -> Result<Result<u64, StreamError>> {
        self.check_asked()?;
        Ok(self.read_from(&stream, len)?.map(|bytes| bytes.len() as u64))
    }

    fn blocking_skip(&mut self, stream: Resource<InputStream>, len: u64) -> Result<Result<u64, StreamError>> {
        self.check_asked()?;
        streams::HostInputStream::skip(self, stream, len)
    }

    fn subscribe(&mut self, _: Resource<InputStream>) -> Result<Resource<Pollable>> {
        self.check_asked()?;
        self.wasi.push(Pollable::Ready)
    }

    fn drop(&mut self, stream: Resource<InputStream>) -> Result<()> {
        self.release(stream)
    }
}

impl streams::HostOutputStream for GuestState {
    fixed! {
        check_write(Resource<OutputStream>) -> Result<u64, StreamError> = Ok(WRITE_BYTES_MAX);
        flush(Resource<OutputStream>) -> Result<(), StreamError> = Ok(());
        blocking_flush(Resource<OutputStream>) -> Result<(), StreamError> = Ok(());
    }

    fn write(&mut self, stream: Resource<OutputStream>, contents: Vec<u8>) -> Result<Result<(), StreamError>> {
        self.check_asked()?;
        self.write_to(&stream, &contents)
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<OutputStream>, contents: Vec<u8>) -> Result<Result<(), StreamError>> {
        self.check_asked()?;
        self.write_to(&stream, &contents)
    }

    fn subscribe(&mut self, _: Resource<OutputStream>) -> Result<Resource<Pollable>> {
        self.check_asked()?;
        self.wasi.push(Pollable::Ready)
    }

    fn write_zeroes(&mut self, stream: Resource<OutputStream>, len: u64) -> Result<Result<(), StreamError>> {
        self.check_asked()?;
        self.write_zeroes_to(&stream, len)
    }

    fn blocking_write_zeroes_and_flush(&mut self, stream: Resource<OutputStream>, len: u64) -> Result<Result<(), StreamError>> {
        self.check_asked()?;
        self.write_zeroes_to(&stream, len)
    }

    fn splice(&mut self, stream: Resource<OutputStream>, src: Resource<InputStream>, len: u64) -> Result<Result<u64, StreamError>> {
        self.check_asked()?;
        let bytes = match self.read_from(&src, len.min(WRITE_BYTES_MAX))? {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(error)),
        };
        Ok(self.write_to(&stream, &bytes)?.map(|()| bytes.len() as u64))
    }

    fn blocking_splice(
        &mut self,
        stream: Resource<OutputStream>,
        src: Resource<InputStream>,
        len: u64,
    ) -> Result<Result<u64, StreamError>> {
        self.check_asked()?;
        streams::HostOutputStream::splice(self, stream, src, len)
    }

    fn drop(&mut self, stream: Resource<OutputStream>) -> Result<()> {
        self.release(stream)
    }
}

impl stdin::Host for GuestState {
    fn get_stdin(&mut self) -> Result<Resource<InputStream>> {
        self.check_asked()?;
        self.wasi.push(InputStream::Empty)
    }
}

impl stdout::Host for GuestState {
    fn get_stdout(&mut self) -> Result<Resource<OutputStream>> {
        self.check_asked()?;
        self.wasi.push(OutputStream::Out)
    }
}

impl stderr::Host for GuestState {
    fn get_stderr(&mut self) -> Result<Resource<OutputStream>> {
        self.check_asked()?;
        self.wasi.push(OutputStream::Err)
    }
}
