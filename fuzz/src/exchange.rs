//! What a lying peer does, step by step.
//!
//! ```text
//! step   0  1  what     1  1  length     2  …  bytes
//! ```
//!
//! Bytes that end inside a step shorten it. A peer that frames and seals what it says reaches the machine behind the
//! frames; one that knows the session, behind its door.

/// One thing that the peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Sends bytes as they are.
    Bytes(&'a [u8]),
    /// Sends a kind and its body in a frame, sealed for the handshake.
    Handshake(&'a [u8]),
    /// The same, sealed for the session.
    Session(&'a [u8]),
    /// The same, sealed for the batch that comes next in the session.
    Batch(&'a [u8]),
    /// Lets time pass, in milliseconds.
    Wait(u64),
    /// Takes what the machine has to send, so many bytes at most.
    Listen(usize),
    /// Does what an honest peer does to enter a session.
    Connect,
    /// Something of the machine's own user: which, and a number.
    Use(u8, u8),
}

/// The steps of an input, 512 at most.
pub(crate) fn steps(mut input: &[u8]) -> impl Iterator<Item = Step<'_>> {
    let next = move || {
        let ([what, len], rest) = input.split_first_chunk()?;
        let (bytes, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        input = rest;
        Some(match what % 8 {
            0 => Step::Bytes(bytes),
            1 => Step::Handshake(bytes),
            2 => Step::Session(bytes),
            3 => Step::Batch(bytes),
            4 => Step::Wait(bytes.iter().map(|&byte| u64::from(byte) * 16).sum()),
            5 => Step::Listen(bytes.iter().map(|&byte| usize::from(byte)).sum()),
            6 => Step::Connect,
            _ => Step::Use(bytes.first().copied().unwrap_or(0), bytes.get(1).copied().unwrap_or(0)),
        })
    };
    std::iter::from_fn(next).take(STEPS_MAX)
}

/// A step as it stands in an input.
///
/// # Panics
///
/// Where it has more than 255 bytes.
pub(crate) fn step(what: u8, bytes: &[u8]) -> Vec<u8> {
    let len = u8::try_from(bytes.len()).expect("a step is short");
    [&[what, len], bytes].concat()
}

pub(crate) mod what {
    //! The first byte of a step.
    pub(crate) const BYTES: u8 = 0;
    pub(crate) const HANDSHAKE: u8 = 1;
    pub(crate) const SESSION: u8 = 2;
    pub(crate) const BATCH: u8 = 3;
    pub(crate) const WAIT: u8 = 4;
    pub(crate) const LISTEN: u8 = 5;
    pub(crate) const CONNECT: u8 = 6;
    pub(crate) const USE: u8 = 7;
}

const STEPS_MAX: usize = 512;
