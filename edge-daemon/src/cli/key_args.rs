//! What commands are told of a store's keys.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use varve_core::Suite;

/// Where the master key is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct MasterKeyArgs {
    /// The file of the master key: 32 bytes, or their 64 hexadecimal digits [or else the variable VARVED_MASTER_KEY]
    #[arg(long, value_name = "FILE")]
    pub(crate) master_key_file: Option<PathBuf>,
}

/// The arguments of `shred`.
#[derive(Debug, Args)]
pub(crate) struct ShredArgs {
    /// The name of the stream, as `varved streams` shows it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The id of the stream
    #[arg(value_name = "ID")]
    pub(crate) id: u64,
    /// The directory of the store; a daemon that is writing it is asked to do it
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    #[command(flatten)]
    pub(crate) master_key: MasterKeyArgs,
}

/// The arguments of `rotate-master`.
#[derive(Debug, Args)]
pub(crate) struct RotateMasterArgs {
    /// The directory of the store; a daemon that is writing it is asked to do it
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    #[command(flatten)]
    pub(crate) master_key: MasterKeyArgs,
    /// The file of the master key that opens the store from now on
    #[arg(long, value_name = "FILE")]
    pub(crate) new_master_key_file: PathBuf,
}

/// The suites by the names that people give them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SuiteName {
    #[default]
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
    #[value(name = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

impl From<SuiteName> for Suite {
    fn from(name: SuiteName) -> Self {
        match name {
            SuiteName::Aes256Gcm => Self::Aes256Gcm,
            SuiteName::ChaCha20Poly1305 => Self::ChaCha20Poly1305,
        }
    }
}

/// The variable that holds the master key's digits where no file is named.
pub(crate) const MASTER_KEY_VARIABLE: &str = "VARVED_MASTER_KEY";

/// What `varved shred --help` ends with.
pub(super) const SHRED_HELP: &str = "\
Nobody reads the events any more, not with the master key and every file of the store; their places stay, and say so.
An older copy of the file `keys` still opens them: destroy it too. The stream takes new events under a new key. Events from before the stream was sealed stay readable.
Where `varved run` writes the store, it is asked through the socket `varved.socket` there, which its user alone may open.";

/// What `varved rotate-master --help` ends with.
pub(super) const ROTATE_HELP: &str = "\
Whoever has the old master key and an older copy of the file `keys` still has the store's keys.
Where `varved run` writes the store, it is asked through the socket `varved.socket` there, which its user alone may open, and told the path
of the new key's file, which it reads itself. It goes on; give it the new key when it is started the next time.";
