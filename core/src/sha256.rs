//! SHA-256 (FIPS 180-4) in `const`, so that a descriptor's hash is a constant of the firmware.

/// The SHA-256 digest of `message`.
pub const fn sha256(message: &[u8]) -> [u8; 32] {
    let mut state = INITIAL_STATE;
    let mut at = 0;
    while at + BLOCK_LEN <= message.len() {
        let mut block = [0; BLOCK_LEN];
        let mut i = 0;
        while i < BLOCK_LEN {
            block[i] = message[at + i];
            i += 1;
        }
        state = compress(state, &block);
        at += BLOCK_LEN;
    }
    state = compress_tail(state, message, at);
    let mut digest = [0; 32];
    let mut i = 0;
    while i < 32 {
        digest[i] = state[i / 4].to_be_bytes()[i % 4];
        i += 1;
    }
    digest
}

/// Pads what is left after the last whole block: a one bit, zeros, the length in bits.
const fn compress_tail(mut state: [u32; 8], message: &[u8], at: usize) -> [u32; 8] {
    let left = message.len() - at;
    let mut block = [0; BLOCK_LEN];
    let mut i = 0;
    while i < left {
        block[i] = message[at + i];
        i += 1;
    }
    block[left] = 0x80;
    if left + 1 + 8 > BLOCK_LEN {
        state = compress(state, &block);
        block = [0; BLOCK_LEN];
    }
    let bits = (message.len() as u64 * 8).to_be_bytes();
    let mut i = 0;
    while i < 8 {
        block[BLOCK_LEN - 8 + i] = bits[i];
        i += 1;
    }
    compress(state, &block)
}

const fn compress(state: [u32; 8], block: &[u8; BLOCK_LEN]) -> [u32; 8] {
    let mut w = [0u32; 64];
    let mut i = 0;
    while i < 16 {
        w[i] = u32::from_be_bytes([block[4 * i], block[4 * i + 1], block[4 * i + 2], block[4 * i + 3]]);
        i += 1;
    }
    while i < 64 {
        let s0 = w[i - 15].rotate_right(7) ^ w[i - 15].rotate_right(18) ^ (w[i - 15] >> 3);
        let s1 = w[i - 2].rotate_right(17) ^ w[i - 2].rotate_right(19) ^ (w[i - 2] >> 10);
        w[i] = w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1);
        i += 1;
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
    let mut i = 0;
    while i < 64 {
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let t1 = h.wrapping_add(s1).wrapping_add(choice).wrapping_add(ROUND_CONSTANTS[i]).wrapping_add(w[i]);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        let t2 = s0.wrapping_add(majority);
        (h, g, f, e) = (g, f, e, d.wrapping_add(t1));
        (d, c, b, a) = (c, b, a, t1.wrapping_add(t2));
        i += 1;
    }
    let worked = [a, b, c, d, e, f, g, h];
    let mut sum = [0; 8];
    let mut i = 0;
    while i < 8 {
        sum[i] = state[i].wrapping_add(worked[i]);
        i += 1;
    }
    sum
}

const BLOCK_LEN: usize = 64;

/// The fractional parts of the square roots of the first 8 primes (FIPS 180-4, 5.3.3).
const INITIAL_STATE: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// The fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2).
const ROUND_CONSTANTS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &[u8], expected: &str) {
        let digest = sha256(message);
        let mut hex = String::new();
        for byte in digest {
            hex.push_str(&format!("{byte:02x}"));
        }
        assert_eq!(hex, expected);
    }

    extern crate std;
    use std::{format, string::String};

    #[test]
    fn digests_match_the_published_examples() {
        check(b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check(b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check(
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        );
        check(&[b'a'; 1000], "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3");
    }
}
