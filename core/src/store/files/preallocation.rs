//! Room on the disk that the data file has before anything is stored there.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::store::config::{Config, Durability};
use crate::store::error::OpenError;
use crate::store::files::environment::DATA_FILE;
use crate::store::upkeep::quota::Quota;

/// Writes zeros behind the data file in `dir` up to the length that the configuration asks for, as far as its quota goes,
/// and makes them durable. LMDB goes by its meta page and not by the length of the file: it takes them for pages that it has
/// yet to use.
///
/// # Errors
///
/// [`OpenError::Io`] where the disk has no room for them: the file is then as long as it was.
pub(in crate::store) fn preallocate(dir: &Path, config: &Config) -> Result<(), OpenError> {
    let path = dir.join(DATA_FILE);
    let len = config.preallocate.min(Quota::new(dir, config).map_size_max() as u64);
    let lengthened = OpenOptions::new().write(true).open(&path).and_then(|file| {
        let old_len = file.metadata()?.len();
        lengthen(&file, old_len, len, config.durability).inspect_err(|_| {
            // What there is of it would only be in the way of those who still find room.
            let _ = file.set_len(old_len);
        })
    });
    lengthened.map_err(|error| OpenError::Io { path, error })
}

/// Writes zeros from `old_len` to `len`, where that is more. A hole would be no room.
fn lengthen(file: &File, old_len: u64, len: u64, durability: Durability) -> io::Result<()> {
    if old_len >= len {
        return Ok(());
    }
    refuse_lack(file, len - old_len)?;
    let zeros = vec![0; ZEROS_LEN];
    let mut at = old_len;
    while at < len {
        let step = (len - at).min(ZEROS_LEN as u64);
        file.write_all_at(&zeros[..step as usize], at)?;
        at += step;
    }
    match durability {
        Durability::Durable => file.sync_all(),
        Durability::Relaxed => Ok(()),
    }
}

/// Refuses to fill a disk that has room for fewer than `len` bytes more: it would be worn for nothing.
fn refuse_lack(file: &File, len: u64) -> io::Result<()> {
    let disk = rustix::fs::fstatvfs(file)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < len { Err(rustix::io::Errno::NOSPC.into()) } else { Ok(()) }
}

/// How many zeros are written at a time.
const ZEROS_LEN: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{StreamId, Varve};

    const PREALLOCATED: u64 = 3 << 20;

    fn config(preallocate: u64) -> Config {
        Config { preallocate, ..Config::default() }
    }

    fn data_len(dir: &Path) -> u64 {
        fs::metadata(dir.join(DATA_FILE)).unwrap().len()
    }

    #[test]
    fn the_file_grows_no_more_while_there_is_room_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let events: Vec<u64> = (0..250_000).collect();
        for round in 0..3 {
            let mut varve = Varve::with_config(dir.path(), config(PREALLOCATED)).unwrap();
            let mut numbers = varve.stream::<u64, 8>("numbers").unwrap();
            numbers.append_batch(StreamId(round), &events).unwrap();
            let is_within = data_len(dir.path()) == PREALLOCATED;
            assert_eq!(is_within, round == 0, "2 MB of events of {PREALLOCATED} bytes: round {round}");
            let stored = numbers.reader().iter_stream(StreamId(round), None).unwrap();
            assert!(stored.iter().map(|event| event.unwrap().archived.to_native()).eq(0..250_000));
        }
    }

    #[test]
    fn what_is_there_already_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        drop(Varve::with_config(dir.path(), config(PREALLOCATED)).unwrap());
        let first_pages = || fs::read(dir.path().join(DATA_FILE)).unwrap()[..1 << 16].to_vec();
        let before = first_pages();
        preallocate(dir.path(), &config(PREALLOCATED / 2)).unwrap();
        assert_eq!(data_len(dir.path()), PREALLOCATED, "it is not cut");
        preallocate(dir.path(), &config(PREALLOCATED + 1)).unwrap();
        assert_eq!(data_len(dir.path()), PREALLOCATED + 1);
        assert_eq!(first_pages(), before);
    }

    #[test]
    fn a_disk_with_less_room_is_not_written_to() {
        let file = tempfile::tempfile().unwrap();
        let error = lengthen(&file, 0, u64::MAX, Durability::Durable).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.metadata().unwrap().len(), 0);
    }

    #[test]
    fn no_more_is_set_aside_than_the_quota_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let quota = 16 << 20;
        let config = Config { quota: Some(quota), ..config(1 << 40) };
        drop(Varve::with_config(dir.path(), config).unwrap());
        let files = fs::read_dir(dir.path()).unwrap();
        let len: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!((quota - (1 << 20)..=quota).contains(&len), "{len} bytes");
    }
}
