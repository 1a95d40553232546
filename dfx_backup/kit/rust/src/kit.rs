//! The streams of a canister, and the state of the kit between two messages.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use candid::Principal;

use crate::guard::Guard;
use crate::import::Session;
use crate::storage::{StableMemory, Staged, Storage};
use crate::types::{Error, Info, Kind, Stream};
use crate::{MAX_READ_QUERY, MAX_WRITE, PROTOCOL};

type Dump = Rc<dyn Fn() -> Vec<u8>>;
type Restore = Rc<dyn Fn(Vec<u8>)>;
type Imported = Rc<dyn Fn(&str) -> bool>;

/// What a canister offers, and to whom.
///
/// It lives on the heap: nothing of it, and nothing of an import, is ever inside a stream.
#[derive(Default)]
pub struct Backup {
    pub(crate) guard: Guard,
    pub(crate) entries: Vec<Entry>,
    pub(crate) imported: Option<Imported>,
    pub(crate) session: Option<Session>,
    /// Memories that imports wrote to, and that the app did not take up yet.
    pub(crate) stale: Vec<usize>,
    /// The last session that came to its end: a lost answer may be asked for again.
    pub(crate) finished: Option<u64>,
    last_session: u64,
}

/// One stream.
pub(crate) struct Entry {
    pub name: String,
    pub kind: Kind,
    pub storage: Box<dyn Storage>,
    pub dump: Option<Dump>,
    pub restore: Option<Restore>,
}

impl Backup {
    /// No streams yet, and nobody but the controllers may call.
    pub fn new() -> Self {
        Self::default()
    }

    /// Let these principals call too. The anonymous principal stays out even when it is named.
    pub fn allow(mut self, principals: impl IntoIterator<Item = Principal>) -> Self {
        self.guard.allow(principals);
        self
    }

    /// Let those call too for whom `check` is true at the time of the call.
    pub fn allow_if(mut self, check: impl Fn(&Principal) -> bool + 'static) -> Self {
        self.guard.allow_if(check);
        self
    }

    /// Offer the whole stable memory as the stream `stable_memory`.
    pub fn stable_memory(self) -> Self {
        self.add("stable_memory", Kind::StableMemory, StableMemory)
    }

    /// Offer one virtual memory of a memory manager: `id` is the one that `manager.get` was given.
    #[cfg(feature = "ic-stable-structures")]
    pub fn virtual_memory<M>(self, name: &str, id: u8, memory: M) -> Self
    where
        M: ic_stable_structures::Memory + 'static,
    {
        self.add(
            name,
            Kind::VirtualMemory(id),
            crate::storage::Virtual(memory),
        )
    }

    /// Offer what `dump` makes of the app's state; it runs in `backup_stage` only.
    ///
    /// Its bytes stay on the heap until the next stage or upgrade.
    pub fn app(self, name: &str, dump: impl Fn() -> Vec<u8> + 'static) -> Self {
        let mut backup = self.add(name, Kind::App, Staged::default());
        backup.last().dump = Some(Rc::new(dump));
        backup
    }

    /// As `app`, and take imports: `restore` gets the bytes once all their hashes were right.
    ///
    /// When it traps, the import is as if `backup_import_finish` had not been called.
    pub fn app_with_import(
        self,
        name: &str,
        dump: impl Fn() -> Vec<u8> + 'static,
        restore: impl Fn(Vec<u8>) + 'static,
    ) -> Self {
        let mut backup = self.app(name, dump);
        backup.last().restore = Some(Rc::new(restore));
        backup
    }

    /// Take up imported memory without an upgrade: `hook` gets the stream's name when an import of
    /// stable or virtual memory is done, and tells whether the app goes on with what is there now.
    ///
    /// Before it says so it has to replace everything that the heap knows of that memory: handles
    /// of stable structures, and the memory manager when the whole stable memory was imported.
    pub fn on_imported(mut self, hook: impl Fn(&str) -> bool + 'static) -> Self {
        self.imported = Some(Rc::new(hook));
        self
    }

    fn add(mut self, name: &str, kind: Kind, storage: impl Storage + 'static) -> Self {
        assert!(
            self.entries.iter().all(|entry| entry.name != name),
            "two streams are called {name}"
        );
        self.entries.push(Entry {
            name: name.to_owned(),
            kind,
            storage: Box::new(storage),
            dump: None,
            restore: None,
        });
        self
    }

    fn last(&mut self) -> &mut Entry {
        self.entries.last_mut().expect("a stream was just added")
    }

    pub(crate) fn find(&self, name: &str) -> Result<usize, Error> {
        self.entries
            .iter()
            .position(|entry| entry.name == name)
            .ok_or_else(|| Error::UnknownStream(name.to_owned()))
    }

    /// Go on where a kit with the same streams stopped.
    pub(crate) fn after(mut self, former: &mut Self) -> Self {
        self.finished = former.finished;
        self.last_session = former.last_session;
        self.stale = std::mem::take(&mut former.stale);
        self
    }

    /// A number that no session had: the time, unless two begin in one round.
    pub(crate) fn new_session_id(&mut self) -> u64 {
        self.last_session = ic_cdk::api::time().max(self.last_session + 1);
        self.last_session
    }

    pub(crate) fn mark_stale(&mut self, index: usize) {
        if !self.stale.contains(&index) {
            self.stale.push(index);
        }
    }

    pub(crate) fn info(&self) -> Info {
        Info {
            protocol: PROTOCOL,
            kit: concat!("rust ", env!("CARGO_PKG_VERSION")).to_owned(),
            canister_version: ic_cdk::api::canister_version(),
            streams: self
                .entries
                .iter()
                .map(|entry| Stream {
                    name: entry.name.clone(),
                    kind: entry.kind,
                    size: entry.storage.size(),
                })
                .collect(),
            max_read: MAX_READ_QUERY,
            max_write: MAX_WRITE,
            import_session: self
                .session
                .as_ref()
                .map(|session| session.import(&self.entries)),
        }
    }

    /// Tell the rest of the app whether its heap can be trusted.
    pub(crate) fn note_mode(&self) {
        let open = self.session.as_ref().is_some_and(|each| !each.is_done);
        IMPORTING.with(|flag| flag.set(open || !self.stale.is_empty()));
    }
}

thread_local! {
    static KIT: RefCell<Option<Backup>> = const { RefCell::new(None) };
    /// Apart from the kit: the app asks in the middle of its `dump` and `restore`.
    static IMPORTING: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn is_importing() -> bool {
    IMPORTING.with(Cell::get)
}

/// Run `work` with the kit, which `make` makes at the first call.
pub(crate) fn with<R>(make: impl FnOnce() -> Backup, work: impl FnOnce(&mut Backup) -> R) -> R {
    KIT.with(|kit| work(kit.borrow_mut().get_or_insert_with(make)))
}
