//! Server-sent events: the lines of `text/event-stream` as they come, put together into events.

use std::io::{self, BufRead, BufReader, Read};
use std::mem;

use serde_json::Value;
use ureq::BodyReader;

use super::{ClientError, Limits, Place, Strange, failed};

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name, such as `run`.
    pub name: String,
    /// What it tells.
    pub data: Value,
}

/// The events of one connection. It ends when the daemon ends it, and with its first error.
pub struct Events {
    lines: BufReader<BodyReader<'static>>,
    place: Place,
    limits: Limits,
    draft: Draft,
    is_over: bool,
}

impl Events {
    pub(super) fn new(body: BodyReader<'static>, place: Place, limits: Limits) -> Self {
        Self { lines: BufReader::new(body), place, limits, draft: Draft::default(), is_over: false }
    }

    fn read(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            let room = self.limits.bytes.saturating_sub(self.draft.size());
            let too_large =
                || ClientError::TooLarge { place: self.place.clone(), limit: self.limits.bytes };
            let line = read_line(&mut self.lines, room)
                .map_err(|error| failed(&self.place, self.limits, error.into()))?;
            let Some(line) = line else { return Ok(None) };
            let Some(line) = line.strip_suffix('\n') else {
                // Either it is longer than what is taken, or it was cut off.
                let is_long = line.len() as u64 >= room;
                return if is_long { Err(too_large()) } else { Ok(None) };
            };
            let Some((name, data)) = self.draft.take(line.trim_end_matches('\r')) else { continue };
            let broken = |_| ClientError::NotRecountd {
                place: self.place.clone(),
                what: Strange::Json { status: 200 },
            };
            let data = serde_json::from_str(&data).map_err(broken)?;
            return Ok(Some(Event { name, data }));
        }
    }
}

impl Iterator for Events {
    type Item = Result<Event, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let event = self.read().transpose();
        self.is_over = !matches!(event, Some(Ok(_)));
        event
    }
}

/// A line with its end, of this many bytes at most; `None` at the end of the stream.
fn read_line(from: &mut impl BufRead, room: u64) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let length = from.take(room).read_until(b'\n', &mut line)?;
    let text = || String::from_utf8_lossy(&line).into_owned();
    // No room is no end.
    Ok((length > 0 || room == 0).then(text))
}

/// An event of which not all lines are there yet.
#[derive(Debug, Default)]
struct Draft {
    name: String,
    data: Option<String>,
}

impl Draft {
    fn size(&self) -> u64 {
        (self.name.len() + self.data.as_deref().map_or(0, str::len)) as u64
    }

    /// Takes one line without its end, and gives the event that it completes. Comments, ids, times
    /// to wait and what else may come one day are passed over.
    fn take(&mut self, line: &str) -> Option<(String, String)> {
        if line.is_empty() {
            let whole = mem::take(self);
            return whole.data.map(|data| (whole.name, data));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<(String, String)> {
        let mut draft = Draft::default();
        text.split('\n').filter_map(|line| draft.take(line.trim_end_matches('\r'))).collect()
    }

    #[test]
    fn lines_make_events_and_comments_make_none() {
        let text = "event: run\nid: 7\ndata: {\"a\":\ndata:1}\n\n:\n: still here\n\ndata: 2\r\n\r\nevent: lost\n\n";
        assert_eq!(
            events(text),
            [("run".into(), "{\"a\":\n1}".into()), (String::new(), "2".to_owned())]
        );
    }

    #[test]
    fn a_line_is_read_no_further_than_there_is_room() {
        let mut text = io::Cursor::new("abc\ndef");
        assert_eq!(read_line(&mut text, 10).unwrap().as_deref(), Some("abc\n"));
        assert_eq!(read_line(&mut text, 2).unwrap().as_deref(), Some("de"));
        assert_eq!(read_line(&mut text, 0).unwrap().as_deref(), Some(""));
        assert_eq!(read_line(&mut text, 9).unwrap().as_deref(), Some("f"));
        assert_eq!(read_line(&mut text, 9).unwrap(), None);
    }
}
