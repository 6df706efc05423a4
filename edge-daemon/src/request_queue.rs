//! What the ports ask of the writer, in the order in which they asked.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use crate::request::Envelope;

/// The requests that the writer has yet to take in: as many as the ports' quotas have room for.
#[derive(Debug)]
pub(crate) struct RequestQueue {
    received: Receiver<Envelope>,
    /// Those that came while the writer could not take any.
    kept: VecDeque<Envelope>,
}

/// What came of waiting for a request.
#[derive(Debug)]
pub(crate) enum Arrival {
    Request(Envelope),
    /// None came in time.
    Nothing,
    /// Every port is gone, and no request is left.
    Ended,
}

impl RequestQueue {
    /// A queue of what comes from `received`.
    pub(crate) const fn new(received: Receiver<Envelope>) -> Self {
        Self { received, kept: VecDeque::new() }
    }

    /// Waits for the next request until `deadline`; one that came before comes in any case.
    pub(crate) fn next_before(&mut self, deadline: Instant) -> Arrival {
        if let Some(envelope) = self.kept.pop_front() {
            return Arrival::Request(envelope);
        }
        match self.received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(envelope) => Arrival::Request(envelope),
            Err(RecvTimeoutError::Timeout) => Arrival::Nothing,
            Err(RecvTimeoutError::Disconnected) => Arrival::Ended,
        }
    }

    /// Keeps what comes until `deadline`, and tells whether there are ports left that may ask for more.
    pub(crate) fn keep_until(&mut self, deadline: Instant) -> bool {
        loop {
            match self.received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(envelope) => self.kept.push_back(envelope),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::port_line;
    use crate::request::Request;

    #[test]
    fn what_came_while_nothing_was_taken_in_comes_first_and_in_order() {
        let (lines, _, requests) = port_line::lines(1);
        let mut queue = RequestQueue::new(requests);
        let send = |number: u8| lines[0].send(Request::Descriptor(vec![number]));
        let next = |queue: &mut RequestQueue| match queue.next_before(Instant::now()) {
            Arrival::Request(Envelope { request: Request::Descriptor(bytes), .. }) => bytes[0],
            other => panic!("{other:?}"),
        };
        send(1);
        send(2);
        assert!(queue.keep_until(Instant::now()));
        send(3);
        assert_eq!([next(&mut queue), next(&mut queue), next(&mut queue)], [1, 2, 3]);
        assert!(matches!(queue.next_before(Instant::now()), Arrival::Nothing));
        send(4);
        drop(lines);
        assert!(!queue.keep_until(Instant::now() + Duration::from_secs(60)), "the port is gone");
        assert_eq!(next(&mut queue), 4);
        assert!(matches!(queue.next_before(Instant::now()), Arrival::Ended));
    }
}
