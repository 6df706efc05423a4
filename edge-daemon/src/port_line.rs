//! What runs between a port's task and the writer: requests down a queue, answers back through a shared slot.
//!
//! **Invariant:** the queue holds at most [`REQUESTS_MAX`](crate::quota::REQUESTS_MAX) requests of each port, since
//! each of them holds room of its port's quota until it is done with; so a port that has room never waits to send.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::answers::{Answers, News};
use crate::quota::Quota;
use crate::request::{Envelope, PortNumber, Request};

/// A port's end of the line.
#[derive(Debug)]
pub(crate) struct PortLine {
    port: PortNumber,
    requests: Sender<Envelope>,
    answers: Arc<Answers>,
    quota: Arc<Quota>,
    questions: AtomicU64,
}

/// A line for each of `ports` ports, the writer's ends of their answers, and what they all send.
pub(crate) fn lines(ports: usize) -> (Vec<PortLine>, Vec<Arc<Answers>>, Receiver<Envelope>) {
    let (requests, received) = channel();
    let answers: Vec<Arc<Answers>> = (0..ports).map(|_| Arc::default()).collect();
    let lines = answers.iter().enumerate().map(|(port, answers)| PortLine {
        port: PortNumber(port),
        requests: requests.clone(),
        answers: answers.clone(),
        quota: Arc::default(),
        questions: AtomicU64::new(0),
    });
    (lines.collect(), answers, received)
}

impl PortLine {
    /// Sends a request. The port sees to it that there is room before it takes in what makes requests.
    pub(crate) fn send(&self, request: Request) {
        let room = self.quota.take(request.bytes_len());
        // A writer that is gone has failed, and whoever runs it ends the ports.
        let _ = self.requests.send(Envelope { port: self.port, request, _room: room });
    }

    /// A number for a question, which none before had.
    pub(crate) fn next_question(&self) -> u64 {
        self.questions.fetch_add(1, Ordering::Relaxed)
    }

    /// What may still be sent.
    pub(crate) fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Waits until the writer has told something.
    pub(crate) async fn news(&self) -> News {
        self.answers.news().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::{BYTES_MAX, REQUESTS_MAX};

    #[test]
    fn a_port_has_room_again_when_its_request_is_done_with() {
        let (lines, _, requests) = lines(2);
        lines[1].send(Request::Descriptor(vec![0; 100]));
        assert_eq!(lines[1].quota().requests_left(), REQUESTS_MAX - 1);
        assert_eq!(lines[1].quota().bytes_left(), BYTES_MAX - 100);
        assert_eq!(lines[0].quota().requests_left(), REQUESTS_MAX);
        let envelope = requests.recv().unwrap();
        assert_eq!(envelope.port, PortNumber(1));
        drop(envelope);
        assert_eq!(lines[1].quota().requests_left(), REQUESTS_MAX);
    }
}
