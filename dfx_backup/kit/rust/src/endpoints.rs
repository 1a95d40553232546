//! What the exported methods do: the guard first, then the work.

use serde_bytes::ByteBuf;

use crate::hashing::{check_chunk_size, is_spent, Hasher, QUERY_BUDGET};
use crate::kit::{self, Backup};
use crate::types::{
    Answer, BeginArg, Error, Hashes, HashesArg, Import, ImportHashesArg, Info, Progress, ReadArg,
    SessionArg, StageArg, WriteArg,
};
use crate::{MAX_READ_QUERY, MAX_READ_UPDATE};

/// Most hashes in one reply (34 bytes each).
const MAX_HASHES: u32 = 32_768;

const METHODS: [&str; 9] = [
    "backup_info",
    "backup_read",
    "backup_hashes",
    "backup_stage",
    "backup_import_begin",
    "backup_import_hashes",
    "backup_import_write",
    "backup_import_finish",
    "backup_import_abort",
];

/// `backup_info`.
pub fn info(make: impl FnOnce() -> Backup) -> Answer<Info> {
    guarded(make, |kit| Ok(kit.info()))
}

/// `backup_read`.
pub fn read(make: impl FnOnce() -> Backup, arg: ReadArg) -> Answer<ByteBuf> {
    guarded(make, |kit| {
        let storage = &kit.entries[kit.find(&arg.stream)?].storage;
        let max = if ic_cdk::api::in_replicated_execution() {
            MAX_READ_UPDATE
        } else {
            MAX_READ_QUERY
        };
        if arg.length > max {
            return Err(Error::TooLarge {
                max: u64::from(max),
            });
        }
        let size = storage.size();
        match arg.offset.checked_add(u64::from(arg.length)) {
            Some(end) if end <= size => {}
            _ => return Err(Error::OutOfRange { size }),
        }
        let mut bytes = vec![0; arg.length as usize];
        storage.read(arg.offset, &mut bytes);
        Ok(ByteBuf::from(bytes))
    })
}

/// `backup_hashes`.
pub fn hashes(make: impl FnOnce() -> Backup, arg: HashesArg) -> Answer<Hashes> {
    guarded(make, |kit| {
        let storage = kit.entries[kit.find(&arg.stream)?].storage.as_ref();
        check_chunk_size(arg.chunk_size)?;
        let size = storage.size();
        if arg.offset > size {
            return Err(Error::OutOfRange { size });
        }
        let mut hasher = Hasher::new();
        let mut hashes = Vec::new();
        let mut offset = arg.offset;
        while offset < size && hashes.len() < arg.count.min(MAX_HASHES) as usize {
            let length = u64::from(arg.chunk_size).min(size - offset);
            hashes.push(ByteBuf::from(hasher.hash(storage, offset, length)));
            offset += length;
            if is_spent(QUERY_BUDGET) {
                break;
            }
        }
        Ok(Hashes {
            canister_version: ic_cdk::api::canister_version(),
            size,
            hashes,
        })
    })
}

/// `backup_stage`: streams that are memories have nothing to stage.
pub fn stage(make: impl FnOnce() -> Backup, arg: StageArg) -> Answer<Info> {
    guarded(make, |kit| {
        kit.refuse_during_import()?;
        let index = kit.find(&arg.stream)?;
        let entry = &mut kit.entries[index];
        if let Some(dump) = &entry.dump {
            let staged = crate::storage::Staged(dump());
            entry.storage = Box::new(staged);
        }
        Ok(kit.info())
    })
}

/// `backup_import_begin`.
pub fn begin(make: impl FnOnce() -> Backup, arg: BeginArg) -> Answer<Import> {
    guarded(make, |kit| kit.begin(&arg))
}

/// `backup_import_hashes`.
pub fn import_hashes(make: impl FnOnce() -> Backup, arg: ImportHashesArg) -> Answer<()> {
    guarded(make, |kit| kit.import_hashes(&arg))
}

/// `backup_import_write`.
pub fn write(make: impl FnOnce() -> Backup, arg: WriteArg) -> Answer<()> {
    guarded(make, |kit| kit.import_write(&arg))
}

/// `backup_import_finish`.
pub fn finish(make: impl Fn() -> Backup, arg: SessionArg) -> Answer<Progress> {
    guarded(&make, |kit| {
        if kit.finished == Some(arg.session) {
            return Ok(Progress::Done);
        }
        let imported = kit.imported_entry();
        let progress = kit.check_import(arg.session)?;
        if progress == Progress::Done && kit.take_up(imported.expect("it was just checked")) {
            *kit = make().after(kit); // its own handles of memories are stale too
        }
        Ok(progress)
    })
}

/// `backup_import_abort`.
pub fn abort(make: impl FnOnce() -> Backup, arg: SessionArg) -> Answer<()> {
    guarded(make, |kit| kit.abort(arg.session))
}

/// Whether `inspect_message` should accept: a method of ours, from one who may call it.
pub fn accepts(make: impl FnOnce() -> Backup) -> bool {
    METHODS.contains(&ic_cdk::api::msg_method_name().as_str())
        && kit::with(make, |kit| kit.guard.allows(&ic_cdk::api::msg_caller()))
}

fn guarded<T>(
    make: impl FnOnce() -> Backup,
    work: impl FnOnce(&mut Backup) -> Result<T, Error>,
) -> Answer<T> {
    kit::with(make, |kit| {
        if !kit.guard.allows(&ic_cdk::api::msg_caller()) {
            return Err(Error::Unauthorized);
        }
        work(kit)
    })
    .into()
}
