//! What came of a request, as one line.

use serde_json::{Value, json};

use crate::failure::Failure;

/// The line that tells what came of a request.
pub(super) fn encode_reply(outcome: &Result<(), Failure>) -> Vec<u8> {
    let reply = match outcome {
        Ok(()) => json!({ "done": true }),
        Err(failure) => json!({ "failed": failure.what(), "remedy": failure.remedy() }),
    };
    let mut line = reply.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// What a line tells of a request; `None` where it is no reply.
pub(super) fn parse_reply(line: &[u8]) -> Option<Result<(), Failure>> {
    let reply: Value = serde_json::from_slice(line).ok()?;
    if reply["done"] == true {
        return Some(Ok(()));
    }
    Some(Err(Failure::new(reply["failed"].as_str()?, reply["remedy"].as_str()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_daemon_tells_is_what_the_command_says() {
        assert!(matches!(parse_reply(&encode_reply(&Ok(()))), Some(Ok(()))));
        let line = encode_reply(&Err(Failure::new("the disk\n\"is\" full", "make room")));
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let told = parse_reply(&line).unwrap().unwrap_err();
        assert_eq!(told.to_string(), "the disk \"is\" full; make room");
        for line in ["", "{}", "{\"done\":false}", "{\"failed\":\"it\"}", "done"] {
            assert!(parse_reply(line.as_bytes()).is_none(), "{line}");
        }
    }
}
