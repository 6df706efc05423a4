//! The key of one stream, and what it seals.

use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use super::key_file::StreamIdentity;
use super::secret::{Secret, random_nonce};
use super::suite::{Cipher, Forged, NONCE_LEN, Nonce, Suite, TAG_LEN};
use crate::store::log::block::{SealedRun, UNIT_FRONT_LEN, UNIT_OVERHEAD};
use crate::store::log::tables::array;
use crate::{DescriptorHash, DeviceId, StreamSequence};

/// The key of a stream. The keys that seal its events are derived from it.
pub(in crate::store) struct StreamKey {
    suite: Suite,
    stream: StreamIdentity,
    key: Secret,
    /// The cipher that was asked for last, which most often is asked for next.
    latest: Mutex<Option<(Stretch, Arc<Cipher>)>>,
}

/// What the numbers in a sealed run's header stand for, since a number means nothing outside of its store.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Meaning {
    /// The descriptor of the events.
    pub(in crate::store) descriptor: DescriptorHash,
    /// The device that they come from.
    pub(in crate::store) device: Option<DeviceId>,
}

/// The units that one derived key seals: those that a store, between two restores, begins within one stretch of the
/// stream. There are at most as many as the stretch has events, but for those whose commit was lost.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stretch {
    incarnation: u64,
    number: u64,
}

impl StreamKey {
    pub(super) fn new(suite: Suite, stream: StreamIdentity, key: Secret) -> Self {
        Self { suite, stream, key, latest: Mutex::new(None) }
    }

    /// Seals a unit: room for its front, and the plain events and columns of `run`. `incarnation` is that of the store
    /// that seals it.
    pub(in crate::store) fn seal(
        &self,
        incarnation: u64,
        run: &SealedRun,
        meaning: &Meaning,
        unit: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let nonce = random_nonce()?;
        let cipher = self.cipher(Stretch::of(incarnation, run.first));
        let associated = self.associated(incarnation, run, meaning);
        let (front, text) = unit.split_at_mut(UNIT_FRONT_LEN);
        front[..NONCE_LEN].copy_from_slice(&nonce);
        front[NONCE_LEN..].copy_from_slice(&incarnation.to_le_bytes());
        let tag = cipher.seal(&nonce, &associated, text);
        unit.extend_from_slice(&tag);
        Ok(())
    }

    /// The plain events and columns of `run`, if `unit` is what was sealed for it.
    pub(in crate::store) fn open(
        &self,
        run: &SealedRun,
        meaning: &Meaning,
        unit: &[u8],
    ) -> Result<Zeroizing<Box<[u8]>>, Forged> {
        let nonce: Nonce = array(unit, 0).ok_or(Forged)?;
        let incarnation = array(unit, NONCE_LEN).map(u64::from_le_bytes).ok_or(Forged)?;
        let (text, tag) = unit[UNIT_FRONT_LEN..].split_last_chunk::<TAG_LEN>().ok_or(Forged)?;
        let mut text = Zeroizing::new(Box::<[u8]>::from(text));
        let associated = self.associated(incarnation, run, meaning);
        self.cipher(Stretch::of(incarnation, run.first)).open(&nonce, &associated, &mut text, tag)?;
        Ok(text)
    }

    /// The key itself, which no caller but a test has reason to see.
    #[cfg(test)]
    pub(super) fn secret_bytes(&self) -> [u8; 32] {
        *self.key.bytes()
    }

    /// The cipher of a stretch.
    fn cipher(&self, stretch: Stretch) -> Arc<Cipher> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((held, cipher)) if *held == stretch => cipher.clone(),
            _ => {
                let Stretch { incarnation, number } = stretch;
                let key =
                    self.key.derive(&[b"varve unit", &incarnation.to_le_bytes(), &number.to_le_bytes()]);
                let cipher = Arc::new(Cipher::new(self.suite, &key));
                *latest = Some((stretch, cipher.clone()));
                cipher
            }
        }
    }

    /// What a unit is bound to: its place in its stream, what its bytes mean, where they come from, who sealed it.
    fn associated(&self, incarnation: u64, run: &SealedRun, meaning: &Meaning) -> Vec<u8> {
        let (epoch, device_first) = run.origin.map_or((0, 0), |origin| (origin.epoch.0, origin.first.0));
        [
            b"varve unit".as_slice(),
            &self.stream.to_bytes(),
            &run.first.0.to_le_bytes(),
            &run.count.to_le_bytes(),
            &run.shape.to_le_bytes(),
            &meaning.descriptor.0,
            &[u8::from(meaning.device.is_some())],
            &meaning.device.map_or(0, |device| device.0).to_le_bytes(),
            &epoch.to_le_bytes(),
            &device_first.to_le_bytes(),
            &incarnation.to_le_bytes(),
        ]
        .concat()
    }
}

impl Stretch {
    fn of(incarnation: u64, first: StreamSequence) -> Self {
        Self { incarnation, number: first.0 >> STRETCH_BITS }
    }
}

/// A stretch is of 2¹⁶ events: so few units under one key that random nonces of 96 bits meet with a chance below 2⁻⁶⁴.
const STRETCH_BITS: u32 = 16;

const _: () = assert!(UNIT_FRONT_LEN == NONCE_LEN + 8);
const _: () = assert!(UNIT_OVERHEAD == UNIT_FRONT_LEN + TAG_LEN);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::log::block::Origin;
    use crate::{DeviceSequence, Epoch, Lane, StreamId};

    fn key(byte: u8, suite: Suite, name: &str) -> StreamKey {
        StreamKey::new(suite, StreamIdentity::new(name, StreamId(7)), Secret::new([byte; 32]))
    }

    fn run() -> SealedRun {
        let origin = Origin { device: 4, epoch: Epoch(2), lane: Lane(1), first: DeviceSequence(30) };
        SealedRun { first: StreamSequence(70_000), count: 3, shape: 0x0c00_0013, origin: Some(origin) }
    }

    fn meaning() -> Meaning {
        Meaning { descriptor: DescriptorHash([3; 8]), device: Some(DeviceId(9)) }
    }

    fn sealed(key: &StreamKey, incarnation: u64) -> Vec<u8> {
        let mut unit = [vec![0; UNIT_FRONT_LEN], b"three events".to_vec()].concat();
        key.seal(incarnation, &run(), &meaning(), &mut unit).unwrap();
        unit
    }

    #[test]
    fn a_unit_opens_in_its_own_place_and_in_no_other() {
        for suite in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
            let (key, unit) = (key(1, suite, "rooms"), sealed(&key(1, suite, "rooms"), 5));
            assert_eq!(unit.len(), 12 + UNIT_OVERHEAD);
            assert_eq!(**key.open(&run(), &meaning(), &unit).unwrap(), *b"three events");
            let origin = run().origin.unwrap();
            let with = |origin| SealedRun { origin: Some(origin), ..run() };
            let elsewhere = [
                (SealedRun { first: StreamSequence(70_001), ..run() }, meaning()),
                (SealedRun { first: StreamSequence(70_000 + (1 << 16)), ..run() }, meaning()),
                (SealedRun { count: 2, ..run() }, meaning()),
                (SealedRun { shape: 0x0800_0013, ..run() }, meaning()),
                (with(Origin { epoch: Epoch(3), ..origin }), meaning()),
                (with(Origin { first: DeviceSequence(31), ..origin }), meaning()),
                (run(), Meaning { descriptor: DescriptorHash([4; 8]), ..meaning() }),
                (run(), Meaning { device: Some(DeviceId(8)), ..meaning() }),
                (run(), Meaning { device: None, ..meaning() }),
            ];
            for (run, meaning) in elsewhere {
                assert_eq!(key.open(&run, &meaning, &unit).err(), Some(Forged), "{run:?} {meaning:?}");
            }
            for other in [self::key(2, suite, "rooms"), self::key(1, suite, "halls")] {
                assert!(other.open(&run(), &meaning(), &unit).is_err());
            }
        }
    }

    #[test]
    fn a_unit_with_any_bit_flipped_or_cut_short_is_forged() {
        let key = key(1, Suite::Aes256Gcm, "rooms");
        let unit = sealed(&key, 5);
        for bit in 0..unit.len() * 8 {
            let mut flipped = unit.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&run(), &meaning(), &flipped).is_err(), "bit {bit}");
        }
        for len in 0..unit.len() {
            assert!(key.open(&run(), &meaning(), &unit[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn stores_that_were_restored_from_one_backup_seal_under_other_keys() {
        let key = key(1, Suite::Aes256Gcm, "rooms");
        // Even under one nonce, which would tell what two texts differ in were the key the same.
        let cipher_of = |incarnation, first| key.cipher(Stretch::of(incarnation, StreamSequence(first)));
        let text_of = |cipher: Arc<Cipher>| {
            let mut text = *b"three events";
            cipher.seal(&[0; NONCE_LEN], &[], &mut text);
            text
        };
        let text = text_of(cipher_of(5, 70_000));
        assert_eq!(text_of(cipher_of(5, 70_001)), text, "a stretch has one key");
        assert_ne!(text_of(cipher_of(6, 70_000)), text);
        assert_ne!(text_of(cipher_of(5, 70_000 + (1 << 16))), text);
        assert_ne!(sealed(&key, 5), sealed(&key, 5), "nonces are drawn");
    }
}
