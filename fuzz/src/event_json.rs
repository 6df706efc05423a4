//! An event of a described type: an error, or JSON that a reader of JSON takes.
//!
//! ```text
//! 0  2  length of the descriptor     2  …  descriptor     …  the event, to the end
//! ```

use varve_core::descriptor::{JSON_LEN_MAX, LargeIntegers};
use varve_core::{Event, Schema};

use crate::Verdict;
use crate::typed_event::{Specimen, archived, full};

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let Some((schema, event)) = parse(bytes) else { return Verdict::Refused };
    let mut json = Vec::new();
    let written = schema.write_json(event, &mut json);
    assert!(json.len() <= JSON_LEN_MAX && (written.is_ok() || json.is_empty()));
    if written.is_ok() && json.len() <= COMPARED_LEN_MAX {
        let mut strings = Vec::new();
        let again = schema.write_json_with(event, LargeIntegers::Strings, &mut strings);
        assert!(again.is_ok());
        for text in [&json, &strings] {
            serde_json::from_slice::<serde::de::IgnoredAny>(text).expect("what is shown is JSON");
        }
    }
    Verdict::of(&written)
}

fn parse(bytes: &[u8]) -> Option<(Schema, &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (descriptor, event) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
    Some((Schema::parse(descriptor).ok()?, event))
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let nested = vec![vec![Some(1u16), None], vec![], vec![Some(7); 3]];
    vec![
        seed(Specimen::DESCRIPTOR, &archived(&full())),
        seed(<Vec<Vec<Option<u16>>>>::DESCRIPTOR, &archived(&nested)),
        seed(<[String; 2]>::DESCRIPTOR, &archived(&[String::from("short"), String::from("rather long")])),
    ]
}

fn seed(descriptor: &[u8], event: &[u8]) -> Vec<u8> {
    [&(descriptor.len() as u16).to_le_bytes(), descriptor, event].concat()
}

/// The longest JSON that is read again.
const COMPARED_LEN_MAX: usize = 1 << 16;
