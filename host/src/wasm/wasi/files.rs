//! `wasi:filesystem`: granted folders, to be read. Every call that would change anything answers `read-only`.
//!
//! What differs between machines is not shown: a file has no times, one link, and an identity that follows from its path alone.

use super::bindings::filesystem::{preopens, types};
use super::fixed::fixed;
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
    fn get_directories(&mut self) -> Result<Vec<(Resource<Descriptor>, String)>> {
        self.check_asked()?;
        let grants = Arc::clone(&self.wasi.grants);
        let open = |folder: &super::PreopenedFolder| {
            let descriptor = Descriptor { guest: folder.guest().to_owned(), opened: DescriptorTarget::Folder(folder.host().to_owned()) };
            Ok((self.wasi.push(descriptor)?, folder.guest().to_owned()))
        };
        grants.folders.iter().map(open).collect()
    }
}

impl types::Host for GuestState {
    fn filesystem_error_code(&mut self, error: Resource<IoError>) -> Result<Option<ErrorCode>> {
        self.check_asked()?;
        Ok(Some(code_of(self.wasi.table.get(&error)?.kind)))
    }
}

impl types::HostDirectoryEntryStream for GuestState {
    fn read_directory_entry(&mut self, entries: Resource<Entries>) -> Result<Reply<Option<DirectoryEntry>>> {
        self.check_asked()?;
        let entry = self.wasi.table.get_mut(&entries)?.left.pop_front();
        Ok(Ok(entry.map(|(name, ty)| DirectoryEntry { type_: kind(ty), name })))
    }

    fn drop(&mut self, entries: Resource<Entries>) -> Result<()> {
        self.check_asked()?;
        let entries = self.wasi.table.delete(entries)?;
        self.wasi.entries = self.wasi.entries.saturating_sub(entries.count);
        Ok(())
    }
}

impl types::HostDescriptor for GuestState {
    fn read_via_stream(&mut self, descriptor: Resource<Descriptor>, offset: u64) -> Result<Reply<Resource<InputStream>>> {
        self.check_asked()?;
        let opened = self.descriptor(&descriptor)?.file().map(|file| InputStream::File { file: Arc::clone(file), at: offset });
        self.keep(opened)
    }

    fn read(&mut self, descriptor: Resource<Descriptor>, length: u64, offset: u64) -> Result<Reply<(Vec<u8>, bool)>> {
        self.check_asked()?;
        let wanted = usize::try_from(length.min(READ_BYTES_MAX)).expect("64 KiB fit");
        let read = self.descriptor(&descriptor)?.file().and_then(|file| read_file(file, offset, wanted).map_err(code));
        Ok(read.map(|bytes| {
            let is_end = bytes.len() < wanted;
            (bytes, is_end)
        }))
    }

    fn read_directory(&mut self, descriptor: Resource<Descriptor>) -> Result<Reply<Resource<Entries>>> {
        self.check_asked()?;
        let room = ENTRIES_MAX.saturating_sub(self.wasi.entries);
        let listed = self.descriptor(&descriptor)?.folder().and_then(|folder| list(folder, room));
        let count = listed.as_ref().map_or(0, VecDeque::len);
        let kept = self.keep(listed.map(|left| Entries { left, count }))?;
        if kept.is_ok() {
            self.wasi.entries += count;
        }
        Ok(kept)
    }

    fn open_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        how: OpenFlags,
        what: DescriptorFlags,
    ) -> Result<Reply<Resource<Descriptor>>> {
        self.check_asked()?;
        let opened = self.descriptor(&descriptor)?.open_at(flags, &path, how, what);
        self.keep(opened)
    }

    fn get_type(&mut self, descriptor: Resource<Descriptor>) -> Result<Reply<DescriptorType>> {
        self.check_asked()?;
        Ok(self.descriptor(&descriptor)?.stat().map(|stat| stat.type_))
    }

    fn stat(&mut self, descriptor: Resource<Descriptor>) -> Result<Reply<DescriptorStat>> {
        self.check_asked()?;
        Ok(self.descriptor(&descriptor)?.stat())
    }

    fn stat_at(&mut self, descriptor: Resource<Descriptor>, flags: PathFlags, path: String) -> Result<Reply<DescriptorStat>> {
        self.check_asked()?;
        Ok(self.descriptor(&descriptor)?.stat_at(flags, &path))
    }

    fn readlink_at(&mut self, descriptor: Resource<Descriptor>, path: String) -> Result<Reply<String>> {
        self.check_asked()?;
        Ok(self.descriptor(&descriptor)?.link_at(&path))
    }

    fn is_same_object(&mut self, descriptor: Resource<Descriptor>, other: Resource<Descriptor>) -> Result<bool> {
        self.check_asked()?;
        Ok(self.descriptor(&descriptor)?.guest == self.descriptor(&other)?.guest)
    }

    fn metadata_hash(&mut self, descriptor: Resource<Descriptor>) -> Result<Reply<MetadataHashValue>> {
        self.check_asked()?;
        Ok(Ok(hash_of(&self.descriptor(&descriptor)?.guest)))
    }

    fn metadata_hash_at(&mut self, descriptor: Resource<Descriptor>, flags: PathFlags, path: String) -> Result<Reply<MetadataHashValue>> {
        self.check_asked()?;
        Ok(self.descriptor(&descriptor)?.hash_at(flags, &path))
    }

    fixed! {
        get_flags(Resource<Descriptor>) -> Reply<DescriptorFlags> = Ok(DescriptorFlags::READ);
        advise(Resource<Descriptor>, u64, u64, Advice) -> Reply<()> = Ok(());
        sync_data(Resource<Descriptor>) -> Reply<()> = Ok(());
        sync(Resource<Descriptor>) -> Reply<()> = Ok(());
        write_via_stream(Resource<Descriptor>, u64) -> Reply<Resource<OutputStream>> = Err(ErrorCode::ReadOnly);
        append_via_stream(Resource<Descriptor>) -> Reply<Resource<OutputStream>> = Err(ErrorCode::ReadOnly);
        write(Resource<Descriptor>, Vec<u8>, u64) -> Reply<u64> = Err(ErrorCode::ReadOnly);
        set_size(Resource<Descriptor>, u64) -> Reply<()> = Err(ErrorCode::ReadOnly);
        set_times(Resource<Descriptor>, NewTimestamp, NewTimestamp) -> Reply<()> = Err(ErrorCode::ReadOnly);
        set_times_at(Resource<Descriptor>, PathFlags, String, NewTimestamp, NewTimestamp) -> Reply<()> = Err(ErrorCode::ReadOnly);
        create_directory_at(Resource<Descriptor>, String) -> Reply<()> = Err(ErrorCode::ReadOnly);
        link_at(Resource<Descriptor>, PathFlags, String, Resource<Descriptor>, String) -> Reply<()> = Err(ErrorCode::ReadOnly);
        rename_at(Resource<Descriptor>, String, Resource<Descriptor>, String) -> Reply<()> = Err(ErrorCode::ReadOnly);
        symlink_at(Resource<Descriptor>, String, String) -> Reply<()> = Err(ErrorCode::ReadOnly);
        remove_directory_at(Resource<Descriptor>, String) -> Reply<()> = Err(ErrorCode::ReadOnly);
        unlink_file_at(Resource<Descriptor>, String) -> Reply<()> = Err(ErrorCode::ReadOnly);
    }

    fn drop(&mut self, descriptor: Resource<Descriptor>) -> Result<()> {
        self.release(descriptor)
    }
}
