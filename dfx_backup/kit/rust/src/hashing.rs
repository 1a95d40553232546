//! SHA-256 of chunks, in as many messages as it takes.

use sha2::{Digest, Sha256};

use crate::storage::Storage;
use crate::types::Error;

pub(crate) type Hash = [u8; 32];

/// Smallest chunk (bytes): a smaller one would cost more to name than to send.
const MIN_CHUNK: u32 = 4096;

/// Largest chunk (bytes): hashing it takes a fifth of what a query may execute.
const MAX_CHUNK: u32 = 16 * 1024 * 1024;

/// Half of what a query method may execute, however it is called.
pub(crate) const QUERY_BUDGET: u64 = 2_500_000_000;

/// Half of what an update method may execute.
pub(crate) const UPDATE_BUDGET: u64 = 20_000_000_000;

/// Stable memory is read in pieces of so many bytes.
const PIECE: usize = 256 * 1024;

/// This message has executed its share; what is left must suffice for one more chunk.
pub(crate) fn is_spent(budget: u64) -> bool {
    ic_cdk::api::performance_counter(0u32) >= budget
}

pub(crate) fn check_chunk_size(chunk_size: u32) -> Result<(), Error> {
    if chunk_size > MAX_CHUNK {
        return Err(Error::TooLarge {
            max: u64::from(MAX_CHUNK),
        });
    }
    if chunk_size < MIN_CHUNK {
        return Err(Error::NotSupported(format!(
            "chunks of less than {MIN_CHUNK} bytes"
        )));
    }
    Ok(())
}

/// Hashes ranges, with one buffer for all of them.
pub(crate) struct Hasher {
    buffer: Vec<u8>,
}

impl Hasher {
    pub fn new() -> Self {
        Self {
            buffer: vec![0; PIECE],
        }
    }

    /// SHA-256 of `length` bytes at `offset`.
    pub fn hash(&mut self, storage: &dyn Storage, offset: u64, length: u64) -> Hash {
        let mut sha = Sha256::new();
        let mut done = 0;
        while done < length {
            let size = (length - done).min(PIECE as u64) as usize;
            let piece = &mut self.buffer[..size];
            storage.read(offset + done, piece);
            sha.update(&*piece);
            done += size as u64;
        }
        sha.finalize().into()
    }
}
