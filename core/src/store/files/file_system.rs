//! What lies under a store: a file system of this machine, or one over a network, which is refused.
//!
//! LMDB's readers and writer share memory and locks through the directory, which only a file system of one machine
//! keeps coherent; and a flush that a server acknowledges is not one of this machine's disk.

use std::path::Path;

use crate::store::error::OpenError;

/// Refuses a directory on a file system over a network, or in user space but for those that stand on a local disk.
pub(in crate::store) fn refuse_network(dir: &Path) -> Result<(), OpenError> {
    match network_file_system(dir) {
        Some(kind) => Err(OpenError::NetworkFileSystem { path: dir.to_path_buf(), kind }),
        None => Ok(()),
    }
}

/// The name of the network file system that holds `dir`; `None` where it is another one, or cannot be told.
#[cfg(target_os = "linux")]
fn network_file_system(dir: &Path) -> Option<&'static str> {
    let magic = rustix::fs::statfs(dir).ok()?.f_type as u32;
    let is_local = || mount_type(dir).is_some_and(|kind| LOCAL_FUSE.contains(&kind.as_str()));
    match kind_of(magic)? {
        FUSE if is_local() => None,
        kind => Some(kind),
    }
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(_: &Path) -> Option<&'static str> {
    None
}

/// The name of a network file system by the magic number that `statfs` tells.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
fn kind_of(magic: u32) -> Option<&'static str> {
    NETWORK.iter().find(|(of, _)| *of == magic).map(|&(_, kind)| kind)
}

/// The type of the mount that holds `dir`.
#[cfg(target_os = "linux")]
fn mount_type(dir: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let device = dir.metadata().ok()?.dev();
    let device = (rustix::fs::major(device), rustix::fs::minor(device));
    type_in_mounts(&std::fs::read_to_string(MOUNTS_FILE).ok()?, device)
}

/// The type of the mount of a device, as proc(5) lists them: `… major:minor … - type source options`.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
fn type_in_mounts(mounts: &str, (major, minor): (u32, u32)) -> Option<String> {
    let device = format!("{major}:{minor}");
    let mount = mounts.lines().find(|mount| mount.split(' ').nth(2) == Some(&device))?;
    mount.split_once(" - ")?.1.split(' ').next().map(str::to_owned)
}

#[cfg(target_os = "linux")]
const MOUNTS_FILE: &str = "/proc/self/mountinfo";

const FUSE: &str = "FUSE";

/// File systems in user space that stand on a disk of this machine.
#[cfg(target_os = "linux")]
const LOCAL_FUSE: [&str; 2] = ["fuseblk", "fuse.fuse-overlayfs"];

/// The magic numbers of Linux's `statfs`.
const NETWORK: [(u32, &str); 11] = [
    (0x0000_6969, "NFS"),
    (0x0000_517b, "SMB"),
    (0xfe53_4d42, "SMB2"),
    (0xff53_4d42, "CIFS"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x6573_5546, FUSE),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_by_name_from_local_ones() {
        assert_eq!(kind_of(0x6969), Some("NFS"));
        assert_eq!(kind_of(0xff53_4d42), Some("CIFS"));
        assert_eq!(kind_of(0x6573_5546), Some(FUSE));
        for local in [0xef53, 0x0102_1994, 0x5846_5342, 0x9123_683e, 0x794c_7630] {
            assert_eq!(kind_of(local), None, "ext4, tmpfs, XFS, btrfs, overlayfs");
        }
    }

    #[test]
    fn the_type_of_a_mount_is_found_by_its_device() {
        let mounts = "29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
                      36 29 0:32 / /mnt/host rw,nosuid - fuse.sshfs me@host:/ rw,user_id=0\n";
        assert_eq!(type_in_mounts(mounts, (0, 32)).as_deref(), Some("fuse.sshfs"));
        assert_eq!(type_in_mounts(mounts, (254, 0)).as_deref(), Some("ext4"));
        assert_eq!(type_in_mounts(mounts, (0, 3)), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_refusal_names_the_directory_and_the_file_system() {
        let dir = tempfile::tempdir().unwrap();
        refuse_network(dir.path()).unwrap();
        let error = OpenError::NetworkFileSystem { path: "/srv".into(), kind: "NFS" };
        assert_eq!(error.to_string(), "/srv: the file system is NFS; a store needs a disk of this machine");
    }
}
