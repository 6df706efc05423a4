//! The real `varved` on damaged stores: no command is ended by a signal, whatever is wrong is an error of one line, and what is
//! acknowledged is stored.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use varve_hw_tests::{Daemon, SimulatedDevice, eventually};

#[test]
fn a_damaged_store_ends_no_command_by_a_signal_and_costs_nothing_that_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image::make(directory.path());
    let mut refused = 0;
    for seed in 0..CASES * scale() {
        eprintln!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let case = directory.path().join("case");
        image.damage(&case, &mut random);
        image.check_readers(&case);
        refused += u64::from(!image.serve(&case));
        fs::remove_dir_all(&case).unwrap();
    }
    assert!(refused < CASES * scale(), "every damage kept the daemon from serving");
}

/// Meta pages that name pages beyond the end of the data file: whoever reads those is ended by the system.
#[test]
fn a_data_file_that_is_cut_short_is_refused_with_its_place_and_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image::make(directory.path());
    let case = directory.path().join("case");
    image.copy(&case);
    let data = fs::File::options().write(true).open(Daemon::store(&case).join("data.mdb")).unwrap();
    data.set_len(3 * 4096).unwrap();
    drop(data);
    assert!(!image.serve(&case));
    let devices = command("devices", &case);
    assert_eq!(devices.status.code(), Some(2));
    let said = String::from_utf8(devices.stderr).unwrap();
    assert!(said.contains("data file") && said.contains("varved salvage"), "{said}");
}

/// A store as a daemon leaves it that was killed: with blocks in LMDB, and records in the tail.
struct Image {
    directory: PathBuf,
    /// Its events, as `tail` prints them.
    lines: Vec<String>,
}

impl Image {
    fn make(directory: &Path) -> Self {
        let directory = directory.join("image");
        fs::create_dir(&directory).unwrap();
        for number in [1, 2] {
            let mut device = SimulatedDevice::start(number, 300, None);
            let mut daemon = Daemon::start(device.port(), &directory);
            device.wait_until_done();
            daemon.kill();
        }
        let image = Self { directory, lines: Vec::new() };
        let copy = image.directory.join("copy");
        image.copy(&copy);
        let lines = lines(&command("tail", &copy));
        assert!(lines.len() >= 600);
        Self { lines, ..image }
    }

    fn copy(&self, case: &Path) {
        let to = Daemon::store(case);
        fs::create_dir_all(&to).unwrap();
        for file in fs::read_dir(Daemon::store(&self.directory)).unwrap().map(Result::unwrap) {
            // The socket of the daemon that was killed holds nothing.
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
    }

    /// Makes a copy in which a few bits of a file are flipped; most often of LMDB's, which has no checksums of its own.
    fn damage(&self, case: &Path, random: &mut fastrand::Rng) {
        self.copy(case);
        let names = ["data.mdb", "data.mdb", "data.mdb", "tail", "watermark", "lock.mdb"];
        let path = Daemon::store(case).join(names[random.usize(..names.len())]);
        let mut file = fs::read(&path).unwrap();
        // What is in use of the tail is at its front.
        let end = file.len().min(if path.ends_with("tail") { 100_000 } else { file.len() });
        for _ in 0..random.usize(1..20) {
            let page = random.usize(..end.div_ceil(4096)) * 4096;
            // The front of a page says most.
            let reach = if random.bool() { 64 } else { 4096 };
            let at = random.usize(page..(page + reach).min(end));
            file[at] ^= 1 << random.u8(..8);
        }
        fs::write(path, file).unwrap();
    }

    /// Lets every command read a damaged store.
    fn check_readers(&self, case: &Path) {
        let told = command("tail", case);
        if told.status.success() {
            let lines = lines(&told);
            let known = |line: &Value| self.lines.get(line["global_seq"].as_u64()? as usize);
            for line in lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
                let stored: Value = serde_json::from_str(known(&line).expect("a place of the log")).unwrap();
                let is_shown = line.get("event").is_some_and(|event| !event.is_null());
                assert!(!is_shown || line["event"] == stored["event"], "{line} was {stored}");
            }
        }
        for name in ["streams", "devices", "verify"] {
            command(name, case);
        }
        let (backup, salvaged) = (case.join("backup"), case.join("salvaged"));
        run(&["backup", "--to"], &backup, case);
        run(&["salvage", "--to"], &salvaged, case);
    }

    /// Lets the daemon serve a damaged store, and tells whether it did. Everything that it acknowledged is then there.
    fn serve(&self, case: &Path) -> bool {
        let mut device = SimulatedDevice::start(3, 40, None);
        let mut daemon = Daemon::start(device.port(), case);
        let report = eventually("an end of the daemon, or of the device", || {
            daemon.ended().map(Err).or_else(|| device.report().map(Ok))
        });
        let report = match report {
            Ok(report) => report,
            Err(status) => {
                assert_eq!(status.code(), Some(2), "{status}");
                let log = daemon.log();
                let why: Vec<_> = log.lines().filter(|line| line.starts_with("varved: ")).collect();
                assert!(why.len() == 1 && why[0].contains("; "), "{log}");
                return false;
            }
        };
        assert!(daemon.stop().success());
        let from = self.lines.len().saturating_sub(LAST_COMMIT_MAX).to_string();
        let told = told(
            Command::new(Daemon::build()).args(["tail", "--from", &from, "--store"]).arg(Daemon::store(case)),
        );
        if told.status.success() {
            let lines = lines(&told);
            let stored = lines.iter().filter(|line| line.contains("\"nth\"")).count() as u64;
            assert!(stored >= report.offered - report.dropped, "{report:?}, but {lines:#?}");
        }
        true
    }
}

fn command(name: &str, case: &Path) -> Output {
    told(Command::new(Daemon::build()).arg(name).arg("--store").arg(Daemon::store(case)))
}

fn run(args: &[&str], to: &Path, case: &Path) -> Output {
    told(Command::new(Daemon::build()).args(args).arg(to).arg("--store").arg(Daemon::store(case)))
}

/// What a command says, which ends by itself: with one line where it could not do its work.
fn told(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), None, "{command:?}: {said}");
    let lines = said.lines().count();
    match output.status.code() {
        Some(0 | 1) => assert_eq!(lines, 0, "{command:?}: {said}"),
        Some(2) => assert!(lines == 1 && said.starts_with("varved: "), "{command:?}: {said}"),
        code => panic!("{command:?}: {code:?}: {said}"),
    }
    output
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(Into::into).collect()
}

fn scale() -> u64 {
    std::env::var("VARVE_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

/// How many damaged stores a plain run looks at.
const CASES: u64 = 4;

/// More events than a commit of the image has: where the tail's last record is damaged, it counts as torn.
const LAST_COMMIT_MAX: usize = 64;
