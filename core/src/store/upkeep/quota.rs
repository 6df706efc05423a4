//! The quota: how much of the disk a store may take, and what of that is kept free to fold the tail and to retire events.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use heed::RoTxn;

use crate::store::config::{
    Config, MAP_SIZE_MAX, MAP_SIZE_MIN, READERS_MAX_DEFAULT, TAIL_LEN_MAX, TAIL_LEN_MIN,
};
use crate::store::error::AppendError;
use crate::store::files::environment::DATA_FILE;
use crate::store::log::tables::Tables;
use crate::store::sealing::KEYS_FILE;

/// How far the data file may grow, and how much of it is in use.
///
/// Two limits hold. Events are refused while what is in use, the tail that is yet to be folded, the keys and a headroom exceed
/// the quota; what a large append brings counts as in use. So there is room to fold, to move cursors and to retire. And
/// the map ends at the quota, so that pages that a reader keeps from being used again do not take the file beyond it:
/// then folds wait, and once the tail is full appends do, until the reader ends.
#[derive(Debug)]
pub(in crate::store) struct Quota {
    /// What the configuration says; `None` where the disk is the limit.
    bytes: Option<u64>,
    /// What the tail takes.
    tail_len: u64,
    /// What the small files take.
    other_files_len: u64,
    /// How long the data file was when it was opened.
    data_len: u64,
    /// How many bytes of the data file the tables take, since the last commit to it.
    in_use: AtomicU64,
    /// How many the file of keys had then.
    keys_len: AtomicU64,
}

impl Quota {
    /// The quota of a configuration, whose tail has the length that it says, for the store in `dir`.
    pub(in crate::store) fn new(dir: &Path, config: &Config) -> Self {
        Self {
            bytes: config.quota.map(|quota| quota.max(quota_min(config.tail_len) + readers_len(config))),
            tail_len: config.tail_len,
            other_files_len: OTHER_FILES_LEN + readers_len(config),
            data_len: fs::metadata(dir.join(DATA_FILE)).map_or(0, |data| data.len()),
            in_use: AtomicU64::new(0),
            keys_len: AtomicU64::new(0),
        }
    }

    /// How long the tail of a new store becomes: as long as it is to be, or as the quota has room for beside events.
    pub(in crate::store) fn new_tail_len(config: &Config) -> u64 {
        let least = quota_min(0) + readers_len(config);
        let room = config.quota.map_or(TAIL_LEN_MAX, |quota| quota.saturating_sub(least) / 2);
        config.tail_len.min(room).clamp(TAIL_LEN_MIN, TAIL_LEN_MAX)
    }

    /// How large the map may become. What took more than its quota when it was opened has room to retire events.
    pub(in crate::store) fn map_size_max(&self) -> usize {
        let Some(bytes) = self.bytes else { return MAP_SIZE_MAX };
        let mut left = bytes.saturating_sub(self.tail_len + self.other_files_len);
        if self.used().saturating_sub(HEADROOM) > bytes {
            left = left.max(self.data_len.saturating_add(HEADROOM));
        }
        usize::try_from(left).unwrap_or(MAP_SIZE_MAX).clamp(MAP_SIZE_MIN, MAP_SIZE_MAX)
    }

    /// Notes what the tables take, as a transaction sees or leaves them, and what the keys of the store `dir` do.
    pub(in crate::store) fn note(&self, dir: &Path, tables: &Tables, txn: &RoTxn<'_>) -> heed::Result<()> {
        if self.bytes.is_some() {
            let keys_len = fs::metadata(dir.join(KEYS_FILE)).map_or(0, |keys| keys.len());
            self.keys_len.store(keys_len, Ordering::Relaxed);
            self.in_use.store(tables.len_on_disk(txn)?, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Refuses to take more events while there is no room for them.
    pub(in crate::store) fn check(&self) -> Result<(), AppendError> {
        self.refuse_past(self.used())
    }

    /// Refuses the events that a transaction has written to the tables, where they take what is kept for others.
    pub(in crate::store) fn check_written(
        &self,
        tables: &Tables,
        txn: &RoTxn<'_>,
    ) -> Result<(), AppendError> {
        if self.bytes.is_none() { Ok(()) } else { self.refuse_past(self.used_with(tables.len_on_disk(txn)?)) }
    }

    /// Says that the map has reached the quota; `None` without one.
    pub(in crate::store) fn exceeded(&self) -> Option<AppendError> {
        let quota = self.bytes?;
        Some(AppendError::QuotaExceeded { quota, used: self.used().max(quota) })
    }

    fn refuse_past(&self, used: u64) -> Result<(), AppendError> {
        match self.bytes {
            Some(quota) if used > quota => Err(AppendError::QuotaExceeded { quota, used }),
            _ => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        self.used_with(self.in_use.load(Ordering::Relaxed))
    }

    /// What is in use, what the tail takes here and in the data file once it is folded, the keys and the file that takes
    /// their place to shred a stream, and the headroom.
    fn used_with(&self, in_use: u64) -> u64 {
        in_use + 2 * (self.tail_len + self.keys_len.load(Ordering::Relaxed)) + HEADROOM + self.other_files_len
    }
}

impl Config {
    /// How many bytes the quota leaves to events and their index in a new store, beside the tail and what is kept to fold
    /// and to retire; `None` without a quota. What retention is to keep should be less.
    ///
    /// ```
    /// use varve_core::Config;
    ///
    /// let mut config = Config::default();
    /// assert_eq!(config.room_for_events(), None);
    /// config.quota = Some(3 << 30);
    /// assert!(config.room_for_events() > Some(3_000_000_000));
    /// ```
    pub fn room_for_events(&self) -> Option<u64> {
        let overhead = quota_min(Quota::new_tail_len(self)) + readers_len(self) - EVENTS_LEN_MIN;
        self.quota.map(|quota| quota.max(QUOTA_MIN + readers_len(self)).saturating_sub(overhead))
    }
}

/// The least that a quota is, with the shortest tail: below it a store would take no event.
pub const QUOTA_MIN: u64 = quota_min(TAIL_LEN_MIN);

/// The least that a quota is with a tail of so many bytes.
const fn quota_min(tail_len: u64) -> u64 {
    2 * tail_len + HEADROOM + OTHER_FILES_LEN + EVENTS_LEN_MIN
}

/// What the lock file takes for more readers than there are by default.
fn readers_len(config: &Config) -> u64 {
    READER_LEN * u64::from(config.readers_max.saturating_sub(READERS_MAX_DEFAULT))
}

/// What a quota leaves at least to events and their index.
const EVENTS_LEN_MIN: u64 = 4 << 20;

/// What is kept for the pages that a fold or a retirement writes before those that they replace are free: the trees'
/// branches and leaves, and the lists of free pages.
const HEADROOM: u64 = 2 << 20;

/// LMDB's lock file, the watermark, the header of the tail, the keys' first page.
const OTHER_FILES_LEN: u64 = 128 << 10;

/// What the lock file takes for a reader.
const READER_LEN: u64 = 64;

const _: () = assert!(READER_LEN * READERS_MAX_DEFAULT as u64 + (16 << 10) <= OTHER_FILES_LEN);

const _: () = assert!(QUOTA_MIN > 2 * TAIL_LEN_MIN + MAP_SIZE_MIN as u64);

#[cfg(test)]
mod tests {
    use super::*;

    /// Where no store is.
    const NOWHERE: &str = "/nowhere";

    fn quota(bytes: Option<u64>) -> Quota {
        Quota::new(Path::new(NOWHERE), &Config { quota: bytes, ..Config::default() })
    }

    #[test]
    fn events_are_refused_while_there_is_no_room_to_fold_them() {
        let quota = quota(Some(32 << 20));
        quota.check().unwrap();
        let limit = (32 << 20) - quota.used();
        quota.in_use.store(limit, Ordering::Relaxed);
        quota.check().unwrap();
        quota.in_use.store(limit + 1, Ordering::Relaxed);
        let error = quota.check().unwrap_err();
        assert!(matches!(error, AppendError::QuotaExceeded { quota, used } if used == quota + 1), "{error}");
    }

    #[test]
    fn the_map_ends_where_all_files_together_reach_the_quota() {
        let quota = quota(Some(32 << 20));
        assert_eq!(quota.map_size_max() as u64 + quota.tail_len + OTHER_FILES_LEN, 32 << 20);
        assert!(quota.exceeded().is_some());
    }

    #[test]
    fn without_a_quota_the_disk_is_the_limit() {
        let quota = quota(None);
        quota.in_use.store(u64::MAX / 2, Ordering::Relaxed);
        quota.check().unwrap();
        assert_eq!(quota.map_size_max(), MAP_SIZE_MAX);
        assert!(quota.exceeded().is_none());
    }

    #[test]
    fn a_quota_is_never_too_small_to_hold_anything() {
        for tail_len in [TAIL_LEN_MIN, Config::default().tail_len, TAIL_LEN_MAX] {
            let config = Config { quota: Some(0), tail_len, ..Config::default() };
            Quota::new(Path::new(NOWHERE), &config).check().unwrap();
        }
    }

    #[test]
    fn events_may_take_what_is_told_to_be_left_to_them() {
        for bytes in [0, QUOTA_MIN, 16 << 20, 1 << 30] {
            let mut config = Config { quota: Some(bytes), ..Config::default() };
            let room = config.room_for_events().unwrap();
            assert!(room >= EVENTS_LEN_MIN, "{room} of {bytes}");
            config.tail_len = Quota::new_tail_len(&config);
            let quota = Quota::new(Path::new(NOWHERE), &config);
            quota.in_use.store(room, Ordering::Relaxed);
            quota.check().unwrap();
            quota.in_use.store(room + 1, Ordering::Relaxed);
            quota.check().unwrap_err();
        }
    }

    #[test]
    fn a_new_tail_leaves_room_for_events() {
        let new_tail_len = |quota| Quota::new_tail_len(&Config { quota, ..Config::default() });
        assert_eq!(new_tail_len(None), Config::default().tail_len);
        assert_eq!(new_tail_len(Some(1 << 30)), Config::default().tail_len);
        assert_eq!(new_tail_len(Some(QUOTA_MIN + 2_000)), TAIL_LEN_MIN + 1_000);
        assert_eq!(new_tail_len(Some(0)), TAIL_LEN_MIN);
    }
}
