//! The names of streams, and the descriptors.

use super::Verification;
use crate::descriptor::Schema;
use crate::store::log::catalog::{DescriptorRow, StreamRow};
use crate::store::log::tables::{key12, number};
use crate::store::write::stream::STREAM_NAME_LEN_MAX;

impl Verification<'_> {
    /// Checks that names, streams and descriptors name each other.
    pub(super) fn check_catalog(&mut self) {
        self.check_streams();
        self.check_descriptors();
        self.check_layouts();
    }

    fn check_streams(&mut self) {
        let tables = self.tables();
        self.each_row(tables.name, |_, (name, value)| {
            let is_name =
                (1..=STREAM_NAME_LEN_MAX).contains(&name.len()) && std::str::from_utf8(name).is_ok();
            if !is_name || value.len() != 4 {
                return Err("it is no name's number");
            }
            Ok(())
        });
        self.each_row(tables.stream_info, |verification, (key, value)| {
            let (stream, row) = number(key, 0).zip(StreamRow::parse(value)).ok_or("it names no stream")?;
            let name = verification.get(tables.name, row.name.as_bytes());
            let name = name.and_then(little_endian).ok_or("its name has no number")?;
            let back = verification.get(tables.stream_id, &key12(name, row.id.0)).and_then(little_endian);
            if back == Some(stream) { Ok(()) } else { Err("its name and id lead to another stream") }
        });
        self.each_row(tables.stream_id, |verification, (key, value)| {
            let stream = little_endian(value).ok_or("it is no number")?;
            let row = verification.get(tables.stream_info, &stream.to_be_bytes()).and_then(StreamRow::parse);
            let row = row.ok_or("its stream is missing")?;
            let name = verification.get(tables.name, row.name.as_bytes()).and_then(little_endian);
            let is_key = name.is_some_and(|name| key12(name, row.id.0) == *key);
            if is_key { Ok(()) } else { Err("its stream has another name or id") }
        });
        self.report.streams = self.rows_of(tables.stream_info);
    }

    fn check_descriptors(&mut self) {
        let tables = self.tables();
        self.each_row(tables.descriptor, |verification, (key, value)| {
            let row = DescriptorRow::parse(value).ok_or("it is too short")?;
            if let Some((layout, bytes)) = row.known {
                let schema = Schema::parse(bytes).map_err(|_| "it is no descriptor")?;
                if (schema.descriptor_hash(), schema.layout_hash()) != (row.hash, layout) {
                    return Err("its hashes are not those of its bytes");
                }
            }
            let back = verification.get(tables.hash, &row.hash.0).and_then(little_endian);
            if back.is_some() && back == number(key, 0) { Ok(()) } else { Err("its hash leads to another") }
        });
        self.each_row(tables.hash, |verification, (key, value)| {
            let number = little_endian(value).ok_or("it is no number")?;
            let row =
                verification.get(tables.descriptor, &number.to_be_bytes()).and_then(DescriptorRow::parse);
            if row.is_some_and(|row| row.hash.0 == *key) { Ok(()) } else { Err("its descriptor is another") }
        });
        self.report.descriptors = self.rows_of(tables.descriptor);
    }

    fn check_layouts(&mut self) {
        let tables = self.tables();
        self.each_row(tables.layout, |verification, (key, value)| {
            let number = little_endian(value).filter(|_| key.len() == 12).ok_or("it is no number")?;
            let row =
                verification.get(tables.descriptor, &number.to_be_bytes()).and_then(DescriptorRow::parse);
            let layout = row.ok_or("its descriptor is missing")?.known.map(|(layout, _)| layout.0);
            // The layout of a descriptor that was external then may have become known since.
            let is_told = key[4..] == [0; 8] || layout.is_some_and(|layout| layout == key[4..]);
            if is_told { Ok(()) } else { Err("its descriptor has another layout") }
        });
    }
}

fn little_endian(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_le_bytes)
}
