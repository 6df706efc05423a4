//! The bytes that `tail.txt` pins, which were worked out from FORMAT.md alone.

/// The store that they belong to.
pub(super) const INCARNATION: u64 = 0x0102_0304_0506_0708;

/// The bytes of a line.
pub(super) fn bytes(name: &str) -> Vec<u8> {
    let file = include_str!("../../../tests/golden/tail.txt");
    let line = file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let bytes = line.expect("the file has the line").split(' ').map(|byte| u8::from_str_radix(byte, 16));
    bytes.collect::<Result<_, _>>().expect("it is in hex")
}
