//! `wasi:filesystem`: granted folders, to be read. Every call that would change anything answers `read-only`.
//!
//! What differs between machines is not shown: a file has no times, one link, and an identity that follows from its path alone.

use super::asked::asked;
use super::bindings::filesystem::{preopens, types};
use super::folder::{ENTRIES_MAX, code, code_of, find, kind, list};
use super::resources::{Descriptor, DescriptorTarget, Entries, InputStream, IoError, OutputStream, read_file};
use super::state::READ_BYTES_MAX;
use crate::wasm::guest::GuestState;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, MetadataHashValue, NewTimestamp, OpenFlags,
    PathFlags,
};
use wasmtime::Result;
use wasmtime::component::{Resource, ResourceTableError};

/// An answer, or an error that the guest is told.
type Reply<T> = core::result::Result<T, ErrorCode>;

fn stat_of(ty: DescriptorType, size: u64) -> DescriptorStat {
    DescriptorStat {
        type_: ty,
        link_count: 1,
        size,
        data_access_timestamp: None,
        data_modification_timestamp: None,
        status_change_timestamp: None,
    }
}

fn hash_of(guest: &str) -> MetadataHashValue {
    let digest: [u8; 32] = Sha256::digest(guest).into();
    let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    MetadataHashValue { lower: word(&digest[..8]), upper: word(&digest[8..16]) }
}

impl Descriptor {
    fn folder(&self) -> Reply<&PathBuf> {
        match &self.opened {
            DescriptorTarget::Folder(path) => Ok(path),
            DescriptorTarget::File(_) => Err(ErrorCode::NotDirectory),
        }
    }

    fn file(&self) -> Reply<&Arc<File>> {
        match &self.opened {
            DescriptorTarget::File(file) => Ok(file),
            DescriptorTarget::Folder(_) => Err(ErrorCode::IsDirectory),
        }
    }

    fn below(&self, inside: &str) -> String {
        match (self.guest.trim_end_matches('/'), inside) {
            (_, "") => self.guest.clone(),
            (guest, inside) => format!("{guest}/{inside}"),
        }
    }

    fn stat(&self) -> Reply<DescriptorStat> {
        match &self.opened {
            DescriptorTarget::Folder(_) => Ok(stat_of(DescriptorType::Directory, 0)),
            DescriptorTarget::File(file) => Ok(stat_of(DescriptorType::RegularFile, file.metadata().map_err(code)?.len())),
        }
    }

    fn stat_at(&self, flags: PathFlags, path: &str) -> Reply<DescriptorStat> {
        let found = find(self.folder()?, path, flags.contains(PathFlags::SYMLINK_FOLLOW))?;
        let size = if found.metadata.is_file() { found.metadata.len() } else { 0 };
        Ok(stat_of(kind(found.metadata.file_type()), size))
    }

    fn hash_at(&self, flags: PathFlags, path: &str) -> Reply<MetadataHashValue> {
        let found = find(self.folder()?, path, flags.contains(PathFlags::SYMLINK_FOLLOW))?;
        Ok(hash_of(&self.below(&found.inside)))
    }

    fn link_at(&self, path: &str) -> Reply<String> {
        let found = find(self.folder()?, path, false)?;
        if !found.metadata.is_symlink() {
            return Err(ErrorCode::Invalid);
        }
        let target = std::fs::read_link(&found.host).map_err(code)?;
        if target.has_root() {
            return Err(ErrorCode::NotPermitted); // It would tell where the folder is.
        }
        target.into_os_string().into_string().map_err(|_| ErrorCode::IllegalByteSequence)
    }

    fn open_at(&self, flags: PathFlags, path: &str, how: OpenFlags, what: DescriptorFlags) -> Reply<Self> {
        if how.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::EXCLUSIVE)
            || what.intersects(DescriptorFlags::WRITE | DescriptorFlags::MUTATE_DIRECTORY)
        {
            return Err(ErrorCode::ReadOnly);
        }
        let found = find(self.folder()?, path, flags.contains(PathFlags::SYMLINK_FOLLOW))?;
        let guest = self.below(&found.inside);
        let ty = found.metadata.file_type();
        if ty.is_dir() {
            return Ok(Self { guest, opened: DescriptorTarget::Folder(found.host) });
        }
        if how.contains(OpenFlags::DIRECTORY) || path.ends_with('/') {
            return Err(ErrorCode::NotDirectory);
        }
        if ty.is_symlink() {
            return Err(ErrorCode::Loop);
        }
        if !ty.is_file() {
            return Err(ErrorCode::NotPermitted); // To open a pipe is to wait for who writes to it.
        }
        let file = File::open(&found.host).map_err(code)?;
        Ok(Self { guest, opened: DescriptorTarget::File(Arc::new(file)) })
    }
}

impl GuestState {
    /// Keeps what was opened, where there is room for one more.
    fn keep<T: Send + 'static>(&mut self, opened: Reply<T>) -> Result<Reply<Resource<T>>> {
        match opened.map(|opened| self.wasi.table.push(opened)) {
            Ok(Ok(kept)) => Ok(Ok(kept)),
            Ok(Err(ResourceTableError::Full)) => Ok(Err(ErrorCode::InsufficientMemory)),
            Ok(Err(error)) => Err(error.into()),
            Err(code) => Ok(Err(code)),
        }
    }

    fn descriptor(&self, descriptor: &Resource<Descriptor>) -> Result<&Descriptor> {
        Ok(self.wasi.table.get(descriptor)?)
    }
}

impl preopens::Host for GuestState {
    asked! {
        get_directories(self) -> Vec<(Resource<Descriptor>, String)> = {
            let grants = Arc::clone(&self.wasi.grants);
            let open = |folder: &super::PreopenedFolder| {
                let opened = DescriptorTarget::Folder(folder.host().to_owned());
                let descriptor = self.wasi.push(Descriptor { guest: folder.guest().to_owned(), opened })?;
                Ok((descriptor, folder.guest().to_owned()))
            };
            grants.folders.iter().map(open).collect()
        };
    }
}

impl types::Host for GuestState {
    asked! {
        filesystem_error_code(self, error: Resource<IoError>) -> Option<ErrorCode> =
            Ok(Some(code_of(self.wasi.table.get(&error)?.kind)));
    }
}

impl types::HostDirectoryEntryStream for GuestState {
    asked! {
        read_directory_entry(self, entries: Resource<Entries>) -> Reply<Option<DirectoryEntry>> = {
            let entry = self.wasi.table.get_mut(&entries)?.left.pop_front();
            Ok(Ok(entry.map(|(name, ty)| DirectoryEntry { type_: kind(ty), name })))
        };
        drop(self, entries: Resource<Entries>) -> () = {
            let entries = self.wasi.table.delete(entries)?;
            self.wasi.entries = self.wasi.entries.saturating_sub(entries.count);
            Ok(())
        };
    }
}

impl types::HostDescriptor for GuestState {
    asked! {
        read_via_stream(self, of: Resource<Descriptor>, offset: u64) -> Reply<Resource<InputStream>> = {
            let opened = self.descriptor(&of)?.file().map(|file| InputStream::File { file: Arc::clone(file), at: offset });
            self.keep(opened)
        };
        read(self, of: Resource<Descriptor>, length: u64, offset: u64) -> Reply<(Vec<u8>, bool)> = {
            let wanted = usize::try_from(length.min(READ_BYTES_MAX)).expect("64 KiB fit");
            let read = self.descriptor(&of)?.file().and_then(|file| read_file(file, offset, wanted).map_err(code));
            Ok(read.map(|bytes| {
                let is_end = bytes.len() < wanted;
                (bytes, is_end)
            }))
        };
        read_directory(self, of: Resource<Descriptor>) -> Reply<Resource<Entries>> = {
            let room = ENTRIES_MAX.saturating_sub(self.wasi.entries);
            let listed = self.descriptor(&of)?.folder().and_then(|folder| list(folder, room));
            let count = listed.as_ref().map_or(0, VecDeque::len);
            let kept = self.keep(listed.map(|left| Entries { left, count }))?;
            if kept.is_ok() {
                self.wasi.entries += count;
            }
            Ok(kept)
        };
        open_at(self, of: Resource<Descriptor>, flags: PathFlags, path: String, how: OpenFlags, what: DescriptorFlags)
            -> Reply<Resource<Descriptor>> = {
            let opened = self.descriptor(&of)?.open_at(flags, &path, how, what);
            self.keep(opened)
        };
        get_type(self, of: Resource<Descriptor>) -> Reply<DescriptorType> = Ok(self.descriptor(&of)?.stat().map(|stat| stat.type_));
        stat(self, of: Resource<Descriptor>) -> Reply<DescriptorStat> = Ok(self.descriptor(&of)?.stat());
        stat_at(self, of: Resource<Descriptor>, flags: PathFlags, path: String) -> Reply<DescriptorStat> =
            Ok(self.descriptor(&of)?.stat_at(flags, &path));
        readlink_at(self, of: Resource<Descriptor>, path: String) -> Reply<String> = Ok(self.descriptor(&of)?.link_at(&path));
        is_same_object(self, of: Resource<Descriptor>, other: Resource<Descriptor>) -> bool =
            Ok(self.descriptor(&of)?.guest == self.descriptor(&other)?.guest);
        metadata_hash(self, of: Resource<Descriptor>) -> Reply<MetadataHashValue> = Ok(Ok(hash_of(&self.descriptor(&of)?.guest)));
        metadata_hash_at(self, of: Resource<Descriptor>, flags: PathFlags, path: String) -> Reply<MetadataHashValue> =
            Ok(self.descriptor(&of)?.hash_at(flags, &path));
        get_flags(self, _: Resource<Descriptor>) -> Reply<DescriptorFlags> = Ok(Ok(DescriptorFlags::READ));
        advise(self, _: Resource<Descriptor>, _: u64, _: u64, _: Advice) -> Reply<()> = Ok(Ok(()));
        sync_data(self, _: Resource<Descriptor>) -> Reply<()> = Ok(Ok(()));
        sync(self, _: Resource<Descriptor>) -> Reply<()> = Ok(Ok(()));
        write_via_stream(self, _: Resource<Descriptor>, _: u64) -> Reply<Resource<OutputStream>> = Ok(Err(ErrorCode::ReadOnly));
        append_via_stream(self, _: Resource<Descriptor>) -> Reply<Resource<OutputStream>> = Ok(Err(ErrorCode::ReadOnly));
        write(self, _: Resource<Descriptor>, _: Vec<u8>, _: u64) -> Reply<u64> = Ok(Err(ErrorCode::ReadOnly));
        set_size(self, _: Resource<Descriptor>, _: u64) -> Reply<()> = Ok(Err(ErrorCode::ReadOnly));
        set_times(self, _: Resource<Descriptor>, _: NewTimestamp, _: NewTimestamp) -> Reply<()> = Ok(Err(ErrorCode::ReadOnly));
        set_times_at(self, _: Resource<Descriptor>, _: PathFlags, _: String, _: NewTimestamp, _: NewTimestamp) -> Reply<()> =
            Ok(Err(ErrorCode::ReadOnly));
        create_directory_at(self, _: Resource<Descriptor>, _: String) -> Reply<()> = Ok(Err(ErrorCode::ReadOnly));
        link_at(self, _: Resource<Descriptor>, _: PathFlags, _: String, _: Resource<Descriptor>, _: String) -> Reply<()> =
            Ok(Err(ErrorCode::ReadOnly));
        rename_at(self, _: Resource<Descriptor>, _: String, _: Resource<Descriptor>, _: String) -> Reply<()> = Ok(Err(ErrorCode::ReadOnly));
        symlink_at(self, _: Resource<Descriptor>, _: String, _: String) -> Reply<()> = Ok(Err(ErrorCode::ReadOnly));
        remove_directory_at(self, _: Resource<Descriptor>, _: String) -> Reply<()> = Ok(Err(ErrorCode::ReadOnly));
        unlink_file_at(self, _: Resource<Descriptor>, _: String) -> Reply<()> = Ok(Err(ErrorCode::ReadOnly));
        drop(self, of: Resource<Descriptor>) -> () = self.release(of);
    }
}
