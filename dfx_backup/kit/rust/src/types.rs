//! What goes over the wire; the same as in `backup.did`.

use candid::CandidType;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// An answer: `ok` or `err`, as the interface names them.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    #[serde(rename = "ok")]
    Ok(T),
    #[serde(rename = "err")]
    Err(Error),
}

impl<T> From<Result<T, Error>> for Answer<T> {
    fn from(result: Result<T, Error>) -> Self {
        match result {
            Ok(value) => Answer::Ok(value),
            Err(error) => Answer::Err(error),
        }
    }
}

/// What a stream's bytes are.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The whole stable memory.
    #[serde(rename = "stable_memory")]
    StableMemory,
    /// One virtual memory of a memory manager, with its id.
    #[serde(rename = "virtual_memory")]
    VirtualMemory(u8),
    /// What the app makes of its state.
    #[serde(rename = "app")]
    App,
}

/// A stream of bytes that can be read, and perhaps written; `size` in bytes.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    pub name: String,
    pub kind: Kind,
    pub size: u64,
}

/// What there is to read.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub protocol: u16,
    pub kit: String,
    pub canister_version: u64,
    pub streams: Vec<Stream>,
    /// Most bytes that a query may read; a call as an update may read fewer.
    pub max_read: u32,
    /// Most bytes of one write.
    pub max_write: u32,
    pub import_session: Option<Import>,
}

/// An import that began.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Import {
    pub session: u64,
    pub stream: String,
    pub size: u64,
    pub chunk_size: u32,
    /// The hashes of the first so many chunks are known.
    pub hashes_known: u64,
}

/// SHA-256 of consecutive chunks.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Hashes {
    pub canister_version: u64,
    pub size: u64,
    pub hashes: Vec<ByteBuf>,
}

/// How far `backup_import_finish` came.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All chunks are what their hashes say.
    #[serde(rename = "done")]
    Done,
    /// So many bytes still have to be looked at: call again.
    #[serde(rename = "more")]
    More(u64),
}

/// Why a method did nothing.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Error {
    #[serde(rename = "unauthorized")]
    Unauthorized,
    #[serde(rename = "unknown_stream")]
    UnknownStream(String),
    #[serde(rename = "out_of_range")]
    OutOfRange { size: u64 },
    #[serde(rename = "too_large")]
    TooLarge { max: u64 },
    #[serde(rename = "import_in_progress")]
    ImportInProgress(Import),
    #[serde(rename = "no_such_session")]
    NoSuchSession,
    #[serde(rename = "hash_mismatch")]
    HashMismatch { offset: u64 },
    #[serde(rename = "incomplete")]
    Incomplete { first_missing_hash: u64 },
    #[serde(rename = "cannot_grow")]
    CannotGrow { wanted_pages: u64 },
    #[serde(rename = "not_supported")]
    NotSupported(String),
}

/// Argument of `backup_read`.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug)]
pub struct ReadArg {
    pub stream: String,
    pub offset: u64,
    pub length: u32,
}

/// Argument of `backup_hashes`.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug)]
pub struct HashesArg {
    pub stream: String,
    pub offset: u64,
    pub chunk_size: u32,
    pub count: u32,
}

/// Argument of `backup_stage`.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug)]
pub struct StageArg {
    pub stream: String,
}

/// Argument of `backup_import_begin`.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug)]
pub struct BeginArg {
    pub stream: String,
    pub size: u64,
    pub chunk_size: u32,
}

/// Argument of `backup_import_hashes`; `first` is the index of a chunk.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug)]
pub struct ImportHashesArg {
    pub session: u64,
    pub first: u64,
    pub hashes: Vec<ByteBuf>,
}

/// Argument of `backup_import_write`.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug)]
pub struct WriteArg {
    pub session: u64,
    pub offset: u64,
    pub data: ByteBuf,
}

/// Argument of `backup_import_finish` and `backup_import_abort`.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug)]
pub struct SessionArg {
    pub session: u64,
}
