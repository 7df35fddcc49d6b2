//! 1 KiB that no other connection sends, and this one only once.

use crate::tally::Failure;

pub const SIZE: usize = 1024;

pub struct Message {
    bytes: [u8; SIZE],
    count: u64,
}

impl Message {
    pub fn of(connection: usize) -> Self {
        let mut bytes = [b'a'; SIZE];
        bytes[8..16].copy_from_slice(&(connection as u64).to_be_bytes());
        Self { bytes, count: 0 }
    }

    pub fn next(&mut self) -> &[u8; SIZE] {
        self.count += 1;
        self.bytes[..8].copy_from_slice(&self.count.to_be_bytes());
        &self.bytes
    }

    /// Whether this is what `next` gave last.
    pub fn check(&self, echo: &[u8]) -> Result<(), Failure> {
        if echo == self.bytes {
            return Ok(());
        }
        Err(Failure::Wrong(format!(
            "{} bytes that are not the echo",
            echo.len()
        )))
    }
}
