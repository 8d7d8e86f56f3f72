//! The page, and the document that describes the API.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::{Api, Call};
use crate::admin::http::Reply;
use crate::admin::problem::Problem;

const PAGE: &str = include_str!("page.html");
const OPENAPI: &str = include_str!("openapi.json");

/// The page with the policy that lets nothing run but its own script and style.
pub struct Page {
    policy: String,
}

impl Page {
    /// The policy names what it allows by its hash, so that nothing else can be put in.
    pub fn new() -> Self {
        let [style, script] = ["style", "script"].map(|element| hash(inside(element)));
        let policy = format!(
            "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; \
             img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self { policy }
    }
}

/// What stands inside of the page's only element of this name.
fn inside(element: &str) -> &'static str {
    let begin = PAGE.split_once(&format!("<{element}>")).map(|(_, rest)| rest);
    let whole = begin.and_then(|rest| rest.split_once(&format!("</{element}>")));
    whole.map_or("", |(inside, _)| inside)
}

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

pub fn page(api: &Api, _: &Call<'_>) -> Result<Reply, Problem> {
    let page = Reply::whole(200, "text/html; charset=utf-8", PAGE);
    Ok(page
        .with("Content-Security-Policy", api.page.policy.clone())
        .with("X-Frame-Options", "DENY")
        .with("Referrer-Policy", "no-referrer")
        .with("Cache-Control", "no-cache"))
}

pub fn openapi(_: &Api, _: &Call<'_>) -> Result<Reply, Problem> {
    Ok(Reply::whole(200, "application/json", OPENAPI))
}
