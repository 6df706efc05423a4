//! Hardware-in-the-loop tests of Varve.
#![forbid(unsafe_code)]
