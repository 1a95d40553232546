//! Where the bytes of a stream are.

use ic_cdk::stable;

/// Bytes in a page of stable memory.
pub const PAGE: u64 = 65_536;

/// Bytes that can be read, written and made more. Offsets and sizes are in bytes.
pub(crate) trait Storage {
    fn size(&self) -> u64;

    /// Fill `into` from `offset`; all of it is inside the storage.
    fn read(&self, offset: u64, into: &mut [u8]);

    /// Put `from` at `offset`; all of it is inside the storage.
    fn write(&mut self, offset: u64, from: &[u8]);

    /// Make it at least `size` bytes large; false when that can't be.
    fn grow_to(&mut self, size: u64) -> bool;

    /// Forget what lies beyond `size`, where that is possible: memories never shrink.
    fn shrink_to(&mut self, _size: u64) {}

    /// Hand the bytes over, where they are the kit's own.
    fn take(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

/// The whole stable memory.
pub(crate) struct StableMemory;

impl Storage for StableMemory {
    fn size(&self) -> u64 {
        stable::stable_size() * PAGE
    }

    fn read(&self, offset: u64, into: &mut [u8]) {
        stable::stable_read(offset, into);
    }

    fn write(&mut self, offset: u64, from: &[u8]) {
        stable::stable_write(offset, from);
    }

    fn grow_to(&mut self, size: u64) -> bool {
        let missing = size.div_ceil(PAGE).saturating_sub(stable::stable_size());
        missing == 0 || stable::stable_grow(missing).is_ok()
    }
}

/// Bytes on the heap: what an app made of its state.
#[derive(Default)]
pub(crate) struct Staged(pub Vec<u8>);

impl Storage for Staged {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, into: &mut [u8]) {
        let start = offset as usize;
        into.copy_from_slice(&self.0[start..start + into.len()]);
    }

    fn write(&mut self, offset: u64, from: &[u8]) {
        let start = offset as usize;
        self.0[start..start + from.len()].copy_from_slice(from);
    }

    fn grow_to(&mut self, size: u64) -> bool {
        let Ok(wanted) = usize::try_from(size) else {
            return false;
        };
        let missing = wanted.saturating_sub(self.0.len());
        if self.0.try_reserve_exact(missing).is_err() {
            return false;
        }
        if missing > 0 {
            self.0.resize(wanted, 0);
        }
        true
    }

    fn shrink_to(&mut self, size: u64) {
        self.0.truncate(size as usize);
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// One virtual memory of a memory manager, or any other `Memory`.
#[cfg(feature = "ic-stable-structures")]
pub(crate) struct Virtual<M>(pub M);

#[cfg(feature = "ic-stable-structures")]
impl<M: ic_stable_structures::Memory> Storage for Virtual<M> {
    fn size(&self) -> u64 {
        self.0.size() * PAGE
    }

    fn read(&self, offset: u64, into: &mut [u8]) {
        self.0.read(offset, into);
    }

    fn write(&mut self, offset: u64, from: &[u8]) {
        self.0.write(offset, from);
    }

    fn grow_to(&mut self, size: u64) -> bool {
        let missing = size.div_ceil(PAGE).saturating_sub(self.0.size());
        missing == 0 || self.0.grow(missing) >= 0
    }
}
