//! As much of a client as the control plane needs: a request out, a reply with a known length in.

use std::io::{self, ErrorKind, Read, Write};

/// A connection that is used again and again.
pub struct Line<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: Read + Write> Line<S> {
    pub const fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends a request, reads the reply to its end, and says its status.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let body_at = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_on()?;
        };
        let head = String::from_utf8_lossy(self.buffer.get(..body_at).unwrap_or_default());
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let end = body_at + length.unwrap_or(0);
        while self.buffer.len() < end {
            self.read_on()?;
        }
        status.ok_or(ErrorKind::InvalidData.into())
    }

    fn read_on(&mut self) -> io::Result<()> {
        let mut scratch = [0; 16 * 1024];
        match self.stream.read(&mut scratch)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => {
                self.buffer.extend_from_slice(scratch.get(..count).unwrap_or_default());
                Ok(())
            }
        }
    }
}
