//! Event files of TensorBoard: scalars by step.
//!
//! A file is a row of records: length (u64), checksum of the length, payload, checksum of the payload. The checksum is CRC-32C,
//! masked as TFRecord does (tensorflow/core/lib/hash/crc32c.h); the payload is a protocol buffer `Event`
//! (tensorflow/core/util/event.proto).

use std::fs;
use std::io;
use std::path::Path;

use crate::commit::Store;
use crate::error::StoreError;
use crate::log::Log;

/// The first record of every file.
const VERSION: &str = "brain.Event:2";

/// A file of scalars that grows.
pub struct EventLog {
    log: Log,
}

impl EventLog {
    /// Opens `path` for scalars from step `from` on: what a file holds of earlier steps stays, later records and damaged ones
    /// go, as those of a process that was killed and is repeated from its checkpoint.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::Write`] if the file cannot be read or written.
    pub fn open(store: &Store, path: &Path, from: u64, wall_time: f64) -> Result<Self, StoreError> {
        let found = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(StoreError::io("read", path)(error)),
        };
        let kept = kept(&found, from);
        let begins = kept == 0;
        let (mut log, _) = Log::open(store, path, found[..kept].to_vec())?;
        if begins {
            let mut event = event(wall_time, 0);
            field(&mut event, 3, VERSION.as_bytes());
            log.append(&record(&event))?;
        }
        Ok(Self { log })
    }

    /// Adds the values of a step, each under its tag.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn scalars(&mut self, wall_time: f64, step: u64, values: &[(String, f64)]) -> Result<(), StoreError> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut entry = Vec::new();
            field(&mut entry, 1, tag.as_bytes());
            // simple_value, a float of 32 bits.
            entry.push(2 << 3 | 5);
            entry.extend((*value as f32).to_le_bytes());
            field(&mut summary, 1, &entry);
        }
        let mut event = event(wall_time, step);
        field(&mut event, 5, &summary);
        self.log.append(&record(&event))
    }
}

/// The beginning of an `Event`: wall time in seconds and step.
fn event(wall_time: f64, step: u64) -> Vec<u8> {
    let mut bytes = vec![1 << 3 | 1];
    bytes.extend(wall_time.to_le_bytes());
    bytes.push(2 << 3);
    varint(&mut bytes, step);
    bytes
}

/// A field of bytes.
fn field(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    into.push(number << 3 | 2);
    varint(into, bytes.len() as u64);
    into.extend(bytes);
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn record(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    [&length[..], &masked(&length).to_le_bytes(), payload, &masked(payload).to_le_bytes()].concat()
}

/// Bytes of the intact records at the beginning whose steps are below `from`.
fn kept(bytes: &[u8], from: u64) -> usize {
    let mut at = 0;
    while let Some((payload, end)) = read_record(bytes, at)
        && step_of(payload).is_some_and(|step| step < from || at == 0)
    {
        at = end;
    }
    at
}

/// The payload of the record at a place, and where the next one begins.
fn read_record(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let length = bytes.get(at..at + 8)?;
    let sum = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if sum(at + 8)? != masked(length) {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    let end = (at + 12).checked_add(length)?;
    let payload = bytes.get(at + 12..end)?;
    (sum(end)? == masked(payload)).then_some((payload, end + 4))
}

/// The step of an event as [`event`] writes it.
fn step_of(payload: &[u8]) -> Option<u64> {
    let mut step = 0;
    for (i, byte) in payload.get(10..)?.iter().enumerate().take(10) {
        step |= u64::from(byte & 0x7f) << (7 * i).min(63);
        if byte & 0x80 == 0 {
            return Some(step);
        }
    }
    None
}

fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: some hundred bytes an epoch.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        // Appendix B.4: 32 bytes of zeros, of ones, and ascending.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_resumed_file_goes_on_after_its_checkpoint() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path())?;
        let path = folder.path().join("tb/events.out.tfevents.umt");
        let write = |from: u64, steps: std::ops::Range<u64>| -> Result<(), StoreError> {
            let mut log = EventLog::open(&store, &path, from, 1.0)?;
            steps.clone().try_for_each(|step| log.scalars(2.0, step, &[("loss".into(), step as f64)]))
        };
        write(300, 300..310)?;
        let whole = fs::read(&path)?;
        // Cut inside the last record, and begun again from step 305.
        fs::write(&path, &whole[..whole.len() - 3])?;
        write(305, 305..310)?;
        assert_eq!(fs::read(&path)?, whole);
        let (mut at, mut steps) = (0, Vec::new());
        while let Some((payload, end)) = read_record(&whole, at) {
            steps.extend(step_of(payload));
            at = end;
        }
        assert_eq!((at, steps.len(), steps[1], steps[10]), (whole.len(), 11, 300, 309));
        Ok(())
    }
}
