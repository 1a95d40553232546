//! A canister whose state lives on the heap: every upgrade serialises it to stable memory.
//!
//! So a forced upgrade, to the very same module, makes stable memory a whole image of the state; the
//! kit exports it, and an import followed by an upgrade with `skip_pre_upgrade` brings it back.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candid::Principal;
use canister_backup_kit::Backup;
use ic_cdk::stable::{stable_grow, stable_read, stable_size, stable_write};
use ic_cdk::{post_upgrade, pre_upgrade, query, update};

type State = BTreeMap<String, u64>;

const PAGE: u64 = 65_536;
/// The image begins with its length in eight bytes, little-endian.
const HEADER: u64 = 8;

/// The interface, where tools look for it.
#[link_section = "icp:public candid:service"]
#[used]
static SERVICE: [u8; include_bytes!("../kit_heap.did").len()] = *include_bytes!("../kit_heap.did");

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State::new()) };
}

/// Makes the backups, and controls nothing.
const BACKUP_IDENTITY: &str = "fflnu-mapb4-hq6dy-pb4hq-6dypb-4hq6d-ypb4h-q6dyp-b4hq6-dypb4-hqe";

fn backup() -> Backup {
    let identity = Principal::from_text(BACKUP_IDENTITY).expect("it is a principal");
    Backup::new()
        .allow([identity, Principal::anonymous()]) // the kit leaves the latter out
        .stable_memory()
}

canister_backup_kit::endpoints!(backup());

#[pre_upgrade]
fn before_upgrade() {
    // first of all: an image of the old heap must not overwrite one that is being imported
    canister_backup_kit::pre_upgrade();
    let image = STATE.with_borrow(|state| candid::encode_one(state).expect("it has a type"));
    let pages = (HEADER + image.len() as u64).div_ceil(PAGE);
    let missing = pages.saturating_sub(stable_size());
    if missing > 0 {
        stable_grow(missing).expect("there is memory for the image");
    }
    stable_write(0, &(image.len() as u64).to_le_bytes());
    stable_write(HEADER, &image);
}

#[post_upgrade]
fn after_upgrade() {
    let mut length = [0; HEADER as usize];
    stable_read(0, &mut length);
    let mut image = vec![0; u64::from_le_bytes(length) as usize];
    stable_read(HEADER, &mut image);
    let state: State = candid::decode_one(&image).expect("pre_upgrade wrote an image");
    STATE.with_borrow_mut(|place| *place = state);
}

/// Remember a number; gives how many there are.
#[update]
fn put(name: String, number: u64) -> u64 {
    if canister_backup_kit::is_importing() {
        ic_cdk::api::trap("memory is being imported");
    }
    STATE.with_borrow_mut(|state| {
        state.insert(name, number);
        state.len() as u64
    })
}

#[query]
fn get(name: String) -> Option<u64> {
    STATE.with_borrow(|state| state.get(&name).copied())
}

ic_cdk::export_candid!();
