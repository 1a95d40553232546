//! Notes in a stable map, a ballast in a memory beside them, and a motto on the heap.

use std::cell::RefCell;

use candid::Principal;
use canister_backup_kit::Backup;
use ic_cdk::{inspect_message, post_upgrade, pre_upgrade, query, update};
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::{DefaultMemoryImpl, Memory as _, StableBTreeMap};

type Virtual = VirtualMemory<DefaultMemoryImpl>;

const NOTES: MemoryId = MemoryId::new(0);
const BALLAST: MemoryId = MemoryId::new(1);
const PAGE: u64 = 65_536;

/// The interface, where tools look for it.
#[link_section = "icp:public candid:service"]
#[used]
static SERVICE: [u8; include_bytes!("../kit_rust.did").len()] = *include_bytes!("../kit_rust.did");

thread_local! {
    static MANAGER: RefCell<MemoryManager<DefaultMemoryImpl>> =
        RefCell::new(MemoryManager::init(DefaultMemoryImpl::default()));
    static STORED: RefCell<StableBTreeMap<u64, String, Virtual>> =
        RefCell::new(StableBTreeMap::init(memory(NOTES)));
    static MOTTO: RefCell<String> = const { RefCell::new(String::new()) };
    static FRIENDS: RefCell<Vec<Principal>> = const { RefCell::new(Vec::new()) };
}

fn memory(id: MemoryId) -> Virtual {
    MANAGER.with_borrow(|manager| manager.get(id))
}

// The kit: what is offered, and to whom besides the controllers.

fn backup() -> Backup {
    Backup::new()
        .allow_if(|caller| FRIENDS.with_borrow(|friends| friends.contains(caller)))
        .stable_memory()
        .virtual_memory("ballast", 1, memory(BALLAST))
        .app_with_import("motto", dump_motto, restore_motto)
        .on_imported(|stream| stream == "ballast") // of which the heap knows nothing
}

canister_backup_kit::endpoints!(backup());

#[pre_upgrade]
fn before_upgrade() {
    canister_backup_kit::pre_upgrade();
}

#[post_upgrade]
fn after_upgrade() {}

#[inspect_message]
fn inspect() {
    let is_backup = ic_cdk::api::msg_method_name().starts_with("backup_");
    if !is_backup || backup_accepts_message() {
        ic_cdk::api::accept_message();
    }
}

fn dump_motto() -> Vec<u8> {
    MOTTO.with_borrow(|motto| motto.clone().into_bytes())
}

fn restore_motto(bytes: Vec<u8>) {
    let motto = String::from_utf8(bytes).expect("a motto is UTF-8");
    MOTTO.with_borrow_mut(|place| *place = motto);
}

fn refuse_during_import() {
    if canister_backup_kit::is_importing() {
        ic_cdk::api::trap("memory is being imported");
    }
}

// The app.

/// Let somebody who is no controller call the backup's methods.
#[update]
fn befriend(friend: Principal) {
    assert!(ic_cdk::api::is_controller(&ic_cdk::api::msg_caller()));
    FRIENDS.with_borrow_mut(|friends| friends.push(friend));
}

#[update]
fn put(key: u64, note: String) {
    refuse_during_import();
    STORED.with_borrow_mut(|notes| notes.insert(key, note));
}

#[query]
fn get(key: u64) -> Option<String> {
    STORED.with_borrow(|notes| notes.get(&key))
}

#[update]
fn set_motto(motto: String) {
    refuse_during_import();
    MOTTO.with_borrow_mut(|place| *place = motto);
}

#[query]
fn motto() -> String {
    MOTTO.with_borrow(|motto| motto.clone())
}

/// Fill pages of the ballast, from page `first` on, with bytes that follow from `seed` and the
/// page's number; with zeros when `seed` is 0. Other pages up to them are grown and left alone.
#[update]
fn fill(first: u64, pages: u64, seed: u64) {
    refuse_during_import();
    let ballast = memory(BALLAST);
    let missing = (first + pages).saturating_sub(ballast.size());
    assert!(missing == 0 || ballast.grow(missing) >= 0);
    let mut bytes = vec![0; PAGE as usize];
    for page in first..first + pages {
        scramble(&mut bytes, page, seed);
        ballast.write(page * PAGE, &bytes);
    }
}

/// Eight bytes at a time: multiples of an odd number that differs from page to page.
fn scramble(bytes: &mut [u8], page: u64, seed: u64) {
    let step = seed
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_mul(2 * page + 1);
    let mut word: u64 = 0;
    for place in bytes.chunks_exact_mut(8) {
        word = word.wrapping_add(step);
        place.copy_from_slice(&word.to_le_bytes());
    }
}

#[query]
fn is_importing() -> bool {
    canister_backup_kit::is_importing()
}
