//! One import: its hashes, and how far its check came.

use crate::hashing::{check_chunk_size, is_spent, Hash, Hasher, UPDATE_BUDGET};
use crate::kit::{Backup, Entry};
use crate::storage::{Storage, PAGE};
use crate::types::{BeginArg, Error, Import, ImportHashesArg, Kind, Progress, WriteArg};
use crate::MAX_WRITE;

/// Most chunks of an import: their hashes take 32 MiB of heap.
const MAX_CHUNKS: u64 = 1 << 20;

/// Most bytes of stable memory that a canister can have.
const MAX_STABLE: u64 = 500 << 30;

/// The tail is looked at in pieces of so many bytes.
const ZEROS: usize = PAGE as usize;

/// An import that began, and did not give way to another one yet.
pub(crate) struct Session {
    id: u64,
    entry: usize,
    size: u64,
    chunk_size: u32,
    hashes: Vec<Hash>,
    /// So many chunks from the first one on are as they should be.
    checked: u64,
    /// The memory is zero from `size` up to this offset.
    cleared: u64,
    /// Bytes of the canister's own memory may have changed.
    is_touched: bool,
    pub is_done: bool,
}

impl Session {
    pub fn import(&self, entries: &[Entry]) -> Import {
        Import {
            session: self.id,
            stream: entries[self.entry].name.clone(),
            size: self.size,
            chunk_size: self.chunk_size,
            hashes_known: self.hashes.len() as u64,
        }
    }

    fn chunks(&self) -> u64 {
        self.size.div_ceil(u64::from(self.chunk_size))
    }

    fn left(&self, end: u64) -> u64 {
        let checked = (self.checked * u64::from(self.chunk_size)).min(self.size);
        self.size - checked + end.saturating_sub(self.cleared)
    }

    fn put_hashes(&mut self, arg: &ImportHashesArg) -> Result<(), Error> {
        let known = self.hashes.len() as u64;
        if arg.first > known {
            return Err(Error::Incomplete {
                first_missing_hash: known,
            });
        }
        let end = arg.first.checked_add(arg.hashes.len() as u64);
        if end.map_or(true, |end| end > self.chunks()) {
            return Err(Error::OutOfRange {
                size: self.chunks(),
            });
        }
        let hashes: Vec<Hash> = arg
            .hashes
            .iter()
            .map(|bytes| Hash::try_from(bytes.as_slice()))
            .collect::<Result<_, _>>()
            .map_err(|_| Error::NotSupported("hashes of other than 32 bytes".to_owned()))?;
        let first = arg.first as usize;
        let again = hashes.len().min(self.hashes.len() - first);
        self.hashes[first..first + again].copy_from_slice(&hashes[..again]);
        self.hashes.extend_from_slice(&hashes[again..]);
        self.checked = self.checked.min(arg.first);
        Ok(())
    }

    fn write(&mut self, storage: &mut dyn Storage, arg: &WriteArg) -> Result<(), Error> {
        if arg.data.len() as u64 > u64::from(MAX_WRITE) {
            return Err(Error::TooLarge {
                max: u64::from(MAX_WRITE),
            });
        }
        let end = arg.offset.checked_add(arg.data.len() as u64);
        if end.map_or(true, |end| end > self.size) {
            return Err(Error::OutOfRange { size: self.size });
        }
        storage.write(arg.offset, &arg.data);
        self.is_touched = true;
        self.checked = self.checked.min(arg.offset / u64::from(self.chunk_size));
        Ok(())
    }

    /// Check chunks, then clear the tail; true when both are done, false when the budget is spent.
    fn check(&mut self, storage: &mut dyn Storage) -> Result<bool, Error> {
        if (self.hashes.len() as u64) < self.chunks() {
            return Err(Error::Incomplete {
                first_missing_hash: self.hashes.len() as u64,
            });
        }
        let mut hasher = Hasher::new();
        let chunk = u64::from(self.chunk_size);
        while self.checked < self.chunks() {
            let offset = self.checked * chunk;
            let found = hasher.hash(storage, offset, chunk.min(self.size - offset));
            if found != self.hashes[self.checked as usize] {
                return Err(Error::HashMismatch { offset });
            }
            self.checked += 1;
            if is_spent(UPDATE_BUDGET) {
                return Ok(false);
            }
        }
        Ok(self.clear_tail(storage))
    }

    fn clear_tail(&mut self, storage: &mut dyn Storage) -> bool {
        let end = storage.size();
        let zeros = vec![0; ZEROS];
        let mut piece = vec![0; ZEROS];
        while self.cleared < end {
            let size = (end - self.cleared).min(ZEROS as u64) as usize;
            storage.read(self.cleared, &mut piece[..size]);
            if piece[..size] != zeros[..size] {
                storage.write(self.cleared, &zeros[..size]);
                self.is_touched = true;
            }
            self.cleared += size as u64;
            if is_spent(UPDATE_BUDGET) {
                return self.cleared >= end;
            }
        }
        true
    }
}

impl Backup {
    pub(crate) fn begin(&mut self, arg: &BeginArg) -> Result<Import, Error> {
        self.refuse_during_import()?;
        let index = self.find(&arg.stream)?;
        let id = self.new_session_id();
        let entry = &mut self.entries[index];
        if entry.kind == Kind::App && entry.restore.is_none() {
            return Err(Error::NotSupported(format!("import of {}", arg.stream)));
        }
        check_chunk_size(arg.chunk_size)?;
        let most = MAX_CHUNKS * u64::from(arg.chunk_size);
        if arg.size > most {
            return Err(Error::TooLarge { max: most });
        }
        let before = entry.storage.size();
        if arg.size > MAX_STABLE || !entry.storage.grow_to(arg.size) {
            return Err(Error::CannotGrow {
                wanted_pages: arg.size.div_ceil(PAGE),
            });
        }
        entry.storage.shrink_to(arg.size);
        let session = Session {
            id,
            entry: index,
            size: arg.size,
            chunk_size: arg.chunk_size,
            hashes: Vec::new(),
            checked: 0,
            cleared: arg.size,
            is_touched: entry.storage.size() > before,
            is_done: false,
        };
        let import = session.import(&self.entries);
        self.session = Some(session);
        self.note_mode();
        Ok(import)
    }

    pub(crate) fn import_hashes(&mut self, arg: &ImportHashesArg) -> Result<(), Error> {
        self.open_session(arg.session)?.0.put_hashes(arg)
    }

    pub(crate) fn import_write(&mut self, arg: &WriteArg) -> Result<(), Error> {
        let (session, entry) = self.open_session(arg.session)?;
        session.write(entry.storage.as_mut(), arg)
    }

    /// Check; the caller runs the hooks when this is `Done`.
    pub(crate) fn check_import(&mut self, id: u64) -> Result<Progress, Error> {
        let (session, entry) = self.open_session(id)?;
        if !session.check(entry.storage.as_mut())? {
            return Ok(Progress::More(session.left(entry.storage.size())));
        }
        session.is_done = true;
        let (index, is_app) = (session.entry, entry.kind == Kind::App);
        self.finished = Some(id);
        if is_app {
            self.session = None;
        } else {
            self.mark_stale(index);
        }
        Ok(Progress::Done)
    }

    /// The stream that an import is for.
    pub(crate) fn imported_entry(&self) -> Option<usize> {
        self.session.as_ref().map(|session| session.entry)
    }

    /// Give the app what was imported into a stream; true when handles of memories are stale now.
    pub(crate) fn take_up(&mut self, index: usize) -> bool {
        let entry = &mut self.entries[index];
        let taken = match (&entry.restore, &self.imported) {
            (Some(restore), _) => {
                restore(entry.storage.take());
                false
            }
            (None, Some(hook)) => hook(&entry.name),
            (None, None) => false,
        };
        if taken {
            self.stale.retain(|each| *each != index);
            self.session = None;
        }
        self.note_mode();
        taken
    }

    /// Forget the session. Memory that was written to stays as it is, and the import mode with it.
    pub(crate) fn abort(&mut self, id: u64) -> Result<(), Error> {
        let (session, entry) = self.open_session(id)?;
        let is_app = entry.kind == Kind::App;
        let (index, is_touched) = (session.entry, session.is_touched);
        if is_app {
            entry.storage.shrink_to(0);
        } else if is_touched {
            self.mark_stale(index);
        }
        self.session = None;
        self.note_mode();
        Ok(())
    }

    pub(crate) fn refuse_during_import(&self) -> Result<(), Error> {
        match &self.session {
            Some(session) if !session.is_done => {
                Err(Error::ImportInProgress(session.import(&self.entries)))
            }
            _ => Ok(()),
        }
    }

    fn open_session(&mut self, id: u64) -> Result<(&mut Session, &mut Entry), Error> {
        match self.session.as_mut() {
            Some(session) if session.id == id && !session.is_done => {
                let entry = &mut self.entries[session.entry];
                Ok((session, entry))
            }
            _ => Err(Error::NoSuchSession),
        }
    }
}
