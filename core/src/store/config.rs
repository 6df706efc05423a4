//! How a store is opened.

use std::time::Duration;

use crate::store::tail::{SEGMENT_LEN_MAX, SEGMENT_LEN_MIN, SEGMENTS};
use crate::store::upkeep::retention::RetentionPolicy;

/// How a store is opened. [`Config::default`] suits a gateway and a test alike.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Address space to reserve for the data file at first, in bytes; rounded up to whole pages. The store grows
    /// it by itself when it is full. The default is [`MAP_SIZE_MAX`], or the largest power of two below it that
    /// the process may map: it costs neither memory nor disk.
    pub map_size: Option<usize>,
    /// What a commit promises when it returns.
    pub durability: Durability,
    /// How many snapshots may be open at once, over all processes. Each takes 64 bytes of `lock.mdb`. An append needs one
    /// for a moment, unless it holds nothing but plain events of this host, for streams that the process has lately
    /// appended to. The default is 1,022.
    pub readers_max: u32,
    /// How long a snapshot may be read. Past it its reads fail with
    /// [`ReadError::PinnedTooLong`](crate::ReadError::PinnedTooLong), so that whoever holds on to it lets go; what it has
    /// lent stays. [`VarveView::pins`](crate::VarveView::pins) tells who does not. The default is for ever.
    pub pin_limit: Option<Duration>,
    /// How long the tail journal is made, in bytes: a third of it is written before it is folded. Kept within
    /// [`TAIL_LEN_MIN`] and [`TAIL_LEN_MAX`], and shorter where the quota is small; a store that has one keeps it. The
    /// default is [`TAIL_LEN_DEFAULT`].
    pub tail_len: u64,
    /// The most that the store's files may take together, in bytes; at least [`QUOTA_MIN`](crate::QUOTA_MIN), and twice as
    /// much more as the tail is longer than the shortest, and 64 bytes more for each reader beyond 1,022. Past it appends fail with [`AppendError::QuotaExceeded`](crate::AppendError::QuotaExceeded): part of it is kept to fold,
    /// to move cursors and to retire events. A store that takes more already may take 2 MiB beyond that to do so. The default
    /// is the disk.
    pub quota: Option<u64>,
    /// How long the data file is made when the store is opened, in bytes, if it is shorter: filled up with zeros, as far as the
    /// quota goes. Until events fill it no other program can take that room, and no append and no fold waits for the file
    /// system to find some, which makes a bulk append about a quarter faster. It wears a flash disk by so much once, and opening
    /// takes as long as writing it. Where the disk has no room for it the store does not open. The default is 0.
    pub preallocate: u64,
    /// What the store retires by itself: in the background, whenever it folds the tail, and where the quota has no room
    /// for what is appended. The default is nothing.
    pub retention: Option<RetentionPolicy>,
    /// Whether an owner checks, before it first writes, that LMDB's list of free pages names none that is in use: damage to
    /// that list would have LMDB write over events, or end the process. It reads the pages of the index, but no block, and takes
    /// memory for some 16 bytes a block. The default is not to, since it takes longer as a store grows: 0.1 s for 10 GB of
    /// events of 20 bytes, and 0.7 to 1.8 s where none of it is cached.
    pub check_pages: bool,
    /// How events are sealed. The default is not at all.
    #[cfg(feature = "encryption")]
    pub encryption: Option<crate::store::encryption::Encryption>,
}

/// What a commit promises when it returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// What was committed is on the disk: it survives a power cut.
    #[default]
    Durable,
    /// Nothing is flushed: a power cut can cost everything, and even leave a broken store. For simulations and
    /// tests only.
    Relaxed,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            map_size: None,
            durability: Durability::Durable,
            readers_max: READERS_MAX_DEFAULT,
            pin_limit: None,
            tail_len: TAIL_LEN_DEFAULT,
            quota: None,
            preallocate: 0,
            retention: None,
            check_pages: false,
            #[cfg(feature = "encryption")]
            encryption: None,
        }
    }
}

/// The most address space that a store takes: 1 TiB, or 1 GiB where addresses have 32 bits.
pub const MAP_SIZE_MAX: usize = if usize::BITS >= 64 { 1usize << (40 % usize::BITS) } else { 1 << 30 };

/// The least that a store is opened with: the tables alone take some pages.
pub(super) const MAP_SIZE_MIN: usize = 1 << 20;

/// Two pages of LMDB's lock file hold 126 readers; this takes the whole of 64 KiB and leaves room for the header.
pub(super) const READERS_MAX_DEFAULT: u32 = 1022;

/// The shortest tail journal in bytes: the largest commit fits each third.
pub const TAIL_LEN_MIN: u64 = SEGMENTS * SEGMENT_LEN_MIN;

/// The longest tail journal in bytes. As much of it as is not folded is kept in memory.
pub const TAIL_LEN_MAX: u64 = SEGMENTS * SEGMENT_LEN_MAX;

/// How long the tail journal is made by default: 6 MiB.
pub const TAIL_LEN_DEFAULT: u64 = 6 << 20;

const _: () = assert!(MAP_SIZE_MIN < MAP_SIZE_MAX);
const _: () = assert!(TAIL_LEN_MIN <= TAIL_LEN_DEFAULT && TAIL_LEN_DEFAULT <= TAIL_LEN_MAX);
