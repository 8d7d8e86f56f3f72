//! Errors as RFC 9457 problem documents, for the routes as well as for what is refused before them.

use serde::Serialize;
use serde_json::{Map, Value};

use super::http::Reply;

/// The members that every document has; an extension cannot take their names.
const MEMBERS: [&str; 4] = ["type", "title", "status", "detail"];

/// One problem: what is wrong, for programs (`kind`, `status`, extensions) and for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    extensions: Map<String, Value>,
    headers: Vec<(&'static str, String)>,
}

impl Problem {
    /// A problem of the type `urn:recountd:problem:KIND`. The title is the same for all problems of
    /// a kind, the detail tells this one and the way out. `status` is 400 to 599.
    #[must_use]
    pub fn new(
        status: u16,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let (extensions, headers) = (Map::new(), Vec::new());
        Self { kind, title, status, detail: detail.into(), extensions, headers }
    }

    /// A defect of ours; what it was is in the log and nowhere else.
    #[must_use]
    pub fn internal() -> Self {
        let detail = "the request ran into a defect in recountd; its log tells more";
        Self::new(500, "internal", "Internal error", detail)
    }

    /// Too many connections or streams.
    #[must_use]
    pub fn busy(detail: impl Into<String>) -> Self {
        Self::new(503, "busy", "Too many connections", detail).header("Retry-After", "1")
    }

    /// The same with one more member; the names of the members that every problem has are ignored.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if !MEMBERS.contains(&name) {
            self.extensions.insert(name.to_owned(), value.into());
        }
        self
    }

    /// The same with a header field of the reply.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The kind: the end of the document's `type`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The detail.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(flatten)]
    extensions: &'a Map<String, Value>,
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let document = Document {
            r#type: format!("urn:recountd:problem:{}", problem.kind),
            title: problem.title,
            status: problem.status,
            detail: &problem.detail,
            extensions: &problem.extensions,
        };
        // Text, numbers and values of JSON can always be written; an empty body would still be a reply.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut reply = Self::whole(problem.status, "application/problem+json", body);
        reply.headers.extend(problem.headers);
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::http::Body;

    #[test]
    fn a_problem_is_a_document_with_its_extensions_beside_the_members() {
        let problem = Problem::new(422, "invalid", "Invalid", "the cron \"x\" is none")
            .with("errors", serde_json::json!([{"pointer": "/cron"}]))
            .with("status", 200)
            .header("Retry-After", "1");
        let reply = Reply::from(problem);
        assert_eq!(reply.status, 422);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert_eq!(reply.header("retry-after"), Some("1"));
        let Body::Whole(body) = reply.body else { panic!("a stream") };
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"type":"urn:recountd:problem:invalid","title":"Invalid","status":422,"#.to_owned()
                + r#""detail":"the cron \"x\" is none","errors":[{"pointer":"/cron"}]}"#
        );
    }
}
