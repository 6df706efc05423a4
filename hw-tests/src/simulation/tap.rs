//! The seam between a line and the end that it leads to: a test may put a man in the middle there.

/// What stands between a line and the end that it leads to.
pub trait Tap {
    /// A frame of a device, with its 00 if a fault has left it one, is about to arrive by that line.
    fn pass_up(&mut self, line: usize, frame: &mut Vec<u8>);

    /// A frame of a host is about to arrive by that line.
    fn pass_down(&mut self, line: usize, frame: &mut Vec<u8>);
}

/// Nobody: what came through the line arrives.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTap;

impl Tap for NoTap {
    fn pass_up(&mut self, _: usize, _: &mut Vec<u8>) {}

    fn pass_down(&mut self, _: usize, _: &mut Vec<u8>) {}
}
