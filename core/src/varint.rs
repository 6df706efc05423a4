//! Variable-length integers: 7 bits a byte, low bits first, the high bit says that more follow (LEB128), and
//! their zigzag form for signed numbers (0, −1, 1, −2 … become 0, 1, 2, 3 …).

/// The most bytes that a `u64` takes.
pub const VARINT_LEN_MAX: usize = 10;

/// Writes `value` to the front of `out` and returns how many bytes it took, or `None` where they do not fit.
pub const fn write_varint(mut value: u64, out: &mut [u8]) -> Option<usize> {
    let mut len = 0;
    loop {
        if len == out.len() {
            return None;
        }
        if value < 0x80 {
            out[len] = value as u8;
            return Some(len + 1);
        }
        out[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
}

/// Reads an integer from the front of `bytes` and returns it with how many bytes it took; `None` where the bytes
/// end too soon, the value exceeds 64 bits, or a shorter form of it exists.
#[inline]
pub const fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    match bytes {
        [byte @ 0..0x80, ..] => Some((*byte as u64, 1)),
        _ => read_long_varint(bytes),
    }
}

/// Reads an integer of more than one byte.
const fn read_long_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    let mut len = 0;
    while len < bytes.len() && len < VARINT_LEN_MAX {
        let byte = bytes[len];
        if len == VARINT_LEN_MAX - 1 && byte > 1 {
            return None;
        }
        value |= ((byte & 0x7f) as u64) << (7 * len);
        len += 1;
        if byte < 0x80 {
            return if byte == 0 { None } else { Some((value, len)) };
        }
    }
    None
}

/// Folds a signed number into an unsigned one whose size follows its magnitude.
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes [`zigzag`].
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: u64, expected: &[u8]) {
        let mut out = [0; VARINT_LEN_MAX];
        let len = write_varint(value, &mut out).unwrap();
        assert_eq!(&out[..len], expected);
        assert_eq!(read_varint(expected), Some((value, len)));
        assert_eq!(write_varint(value, &mut out[..len - 1]), None);
        assert_eq!(read_varint(&expected[..len - 1]), None);
    }

    #[test]
    fn integers_take_the_fewest_bytes() {
        check(0, &[0]);
        check(127, &[0x7f]);
        check(128, &[0x80, 1]);
        check(300, &[0xac, 2]);
        check(u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }

    #[test]
    fn longer_forms_and_overflow_are_refused() {
        assert_eq!(read_varint(&[0x80, 0]), None);
        assert_eq!(read_varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), None);
        assert_eq!(read_varint(&[0xff; 11]), None);
    }

    #[test]
    fn zigzag_keeps_small_numbers_small() {
        for (signed, folded) in
            [(0, 0), (-1, 1), (1, 2), (-2, 3), (i64::MAX, u64::MAX - 1), (i64::MIN, u64::MAX)]
        {
            assert_eq!(zigzag(signed), folded);
            assert_eq!(unzigzag(folded), signed);
        }
    }
}
