//! Endpoints that let `dfx-backup` export and import a canister's memory in checked chunks.
//!
//! ```ignore
//! fn backup() -> canister_backup_kit::Backup {
//!     canister_backup_kit::Backup::new().stable_memory()
//! }
//! canister_backup_kit::endpoints!(backup());
//! ```
//!
//! Callers are the canister's controllers and whom [`Backup::allow`] names; the anonymous principal
//! never is. `README.md` tells what else a canister has to do.

mod endpoints;
mod guard;
mod hashing;
mod import;
mod kit;
mod storage;
mod types;

pub use endpoints::{abort, accepts};
pub use endpoints::{begin, finish, hashes, import_hashes, info, read, stage, write};
pub use kit::Backup;
pub use types::{
    Answer, BeginArg, Error, Hashes, HashesArg, Import, ImportHashesArg, Info, Kind, Progress,
    ReadArg, SessionArg, StageArg, Stream, WriteArg,
};

/// Version of the interface in `backup.did`.
pub const PROTOCOL: u16 = 1;

/// Most bytes of one write: an ingress message holds 2 MiB, with its envelope.
pub const MAX_WRITE: u32 = 2 * 1024 * 1024 - 65_536;

/// Most bytes of one read by a query; the reply may have 3 MiB.
pub const MAX_READ_QUERY: u32 = 3 * 1024 * 1024 - 1024;

/// Most bytes of one read by a call as an update; the reply may have 2 MiB.
pub const MAX_READ_UPDATE: u32 = 2 * 1024 * 1024 - 1024;

/// Whether an import is under way or waits for the upgrade that makes its memory the app's own.
///
/// Refuse the app's calls while this is true: what the heap knows of stable memory is stale.
pub fn is_importing() -> bool {
    kit::is_importing()
}

/// Call this first in `pre_upgrade`: it traps while an import is under way or waits.
///
/// Otherwise the app's own hook would write its stale heap over the imported memory. An upgrade
/// with `skip_pre_upgrade` does not run it, and ends the import mode.
pub fn pre_upgrade() {
    if is_importing() {
        ic_cdk::api::trap(
            "an import of memory is under way: upgrade with skip_pre_upgrade, \
             or abort the import if it wrote nothing yet",
        );
    }
}

/// Export the methods of `backup.did` from a canister.
///
/// The argument is an expression that makes a [`Backup`]; it runs at the first call of any of the
/// methods after each install or upgrade, so it needs no help from `init` or `post_upgrade`. The
/// canister's own `ic_cdk` exports the methods, so `ic_cdk::export_candid!` knows them.
///
/// It also defines `backup_accepts_message() -> bool`, for use in `inspect_message`.
#[macro_export]
macro_rules! endpoints {
    // `export_candid!` reads the signatures as text, where `$crate` means nothing
    ($backup:expr) => {
        #[::ic_cdk::query]
        fn backup_info() -> ::canister_backup_kit::Answer<::canister_backup_kit::Info> {
            $crate::info(|| $backup)
        }

        #[::ic_cdk::query]
        fn backup_read(
            arg: ::canister_backup_kit::ReadArg,
        ) -> ::canister_backup_kit::Answer<::canister_backup_kit::Blob> {
            $crate::read(|| $backup, arg)
        }

        #[::ic_cdk::query]
        fn backup_hashes(
            arg: ::canister_backup_kit::HashesArg,
        ) -> ::canister_backup_kit::Answer<::canister_backup_kit::Hashes> {
            $crate::hashes(|| $backup, arg)
        }

        #[::ic_cdk::update]
        fn backup_stage(
            arg: ::canister_backup_kit::StageArg,
        ) -> ::canister_backup_kit::Answer<::canister_backup_kit::Info> {
            $crate::stage(|| $backup, arg)
        }

        #[::ic_cdk::update]
        fn backup_import_begin(
            arg: ::canister_backup_kit::BeginArg,
        ) -> ::canister_backup_kit::Answer<::canister_backup_kit::Import> {
            $crate::begin(|| $backup, arg)
        }

        #[::ic_cdk::update]
        fn backup_import_hashes(
            arg: ::canister_backup_kit::ImportHashesArg,
        ) -> ::canister_backup_kit::Answer<()> {
            $crate::import_hashes(|| $backup, arg)
        }

        #[::ic_cdk::update]
        fn backup_import_write(
            arg: ::canister_backup_kit::WriteArg,
        ) -> ::canister_backup_kit::Answer<()> {
            $crate::write(|| $backup, arg)
        }

        #[::ic_cdk::update]
        fn backup_import_finish(
            arg: ::canister_backup_kit::SessionArg,
        ) -> ::canister_backup_kit::Answer<::canister_backup_kit::Progress> {
            $crate::finish(|| $backup, arg)
        }

        #[::ic_cdk::update]
        fn backup_import_abort(
            arg: ::canister_backup_kit::SessionArg,
        ) -> ::canister_backup_kit::Answer<()> {
            $crate::abort(|| $backup, arg)
        }

        /// Whether the message that is being inspected is a permitted call of the backup's.
        #[allow(dead_code)]
        fn backup_accepts_message() -> bool {
            $crate::accepts(|| $backup)
        }
    };
}

/// Bytes that Candid carries in one piece.
pub type Blob = serde_bytes::ByteBuf;
