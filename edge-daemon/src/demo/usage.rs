//! What a process and a store take of the machine.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor time that this process has used, all of its threads together.
pub(crate) fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// The memory that this process holds for itself in KiB: not the pages of the store's map, which the system takes
/// back when it needs them. `None` where the system does not tell.
pub(crate) fn process_memory_kib() -> Option<u64> {
    anonymous_kib(&fs::read_to_string("/proc/self/status").ok()?)
}

/// The bytes that the files of a directory take on the disk.
pub(crate) fn disk_bytes(dir: &Path) -> io::Result<u64> {
    let mut blocks = 0;
    for entry in fs::read_dir(dir)? {
        blocks += entry?.metadata()?.blocks();
    }
    Ok(blocks * 512)
}

fn anonymous_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_system_says() {
        assert_eq!(anonymous_kib("VmRSS:\t  900 kB\nRssAnon:\t    1234 kB\nRssFile:\t 3 kB\n"), Some(1234));
        assert_eq!(anonymous_kib("VmRSS:\t900 kB\n"), None);
    }

    #[test]
    fn a_file_takes_whole_blocks_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), [1; 5_000]).unwrap();
        assert!(disk_bytes(dir.path()).unwrap() >= 5_000);
        assert!(disk_bytes(&dir.path().join("none")).is_err());
    }
}
