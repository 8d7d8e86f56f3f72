//! Which handler a request is for. The table is the API: the document that describes it is held
//! against it.

use percent_encoding::percent_decode_str;

use super::{Api, Call, change, events, health, jobs, old, page, runs, trouble};
use crate::admin::http::{Method, Reply};
use crate::admin::problem::Problem;

type Handle = fn(&Api, &Call<'_>) -> Result<Reply, Problem>;

/// One operation.
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path; `{…}` stands for one segment.
    pub path: &'static str,
    pub(super) handle: Handle,
}

const fn route(method: Method, path: &'static str, handle: Handle) -> Route {
    Route { method, path, handle }
}

/// Every operation there is.
pub const ROUTES: [Route; 20] = [
    route(Method::Get, "/", page::page),
    route(Method::Get, "/healthz", health::healthz),
    route(Method::Get, "/readyz", health::readyz),
    route(Method::Get, "/metrics", health::metrics),
    route(Method::Get, "/v1/openapi.json", page::openapi),
    route(Method::Get, "/v1/status", jobs::status),
    route(Method::Get, "/v1/jobs", jobs::list),
    route(Method::Post, "/v1/jobs", change::add),
    route(Method::Get, "/v1/jobs/{name}", jobs::show),
    route(Method::Patch, "/v1/jobs/{name}", change::reschedule),
    route(Method::Delete, "/v1/jobs/{name}", change::remove),
    route(Method::Post, "/v1/jobs/{name}/trigger", jobs::trigger),
    route(Method::Post, "/v1/jobs/{name}/pause", jobs::pause),
    route(Method::Post, "/v1/jobs/{name}/resume", jobs::resume),
    route(Method::Get, "/v1/jobs/{name}/runs", runs::of_job),
    route(Method::Get, "/v1/runs", runs::all),
    route(Method::Get, "/v1/runs/{id}", runs::one),
    route(Method::Get, "/v1/events", events::stream),
    route(Method::Get, "/admin/scheduled-jobs", old::list),
    route(Method::Post, "/admin/jobs/{name}/trigger", old::trigger),
];

/// The route of a request, and what stands in the places of its path.
pub(super) fn find(method: Method, path: &str) -> Result<(&'static Route, Vec<String>), Problem> {
    let wanted = if method == Method::Head { Method::Get } else { method };
    let mut allowed = Vec::new();
    for route in &ROUTES {
        let Some(args) = places(route.path, path) else { continue };
        if route.method == wanted {
            return Ok((route, args));
        }
        allowed.push(route.method);
    }
    if allowed.is_empty() {
        Err(trouble::no_such_path(path))
    } else {
        Err(trouble::method(&allowed, path != events::PATH))
    }
}

/// What stands in the places of a path of this form; `None` if it has another form.
fn places(form: &str, path: &str) -> Option<Vec<String>> {
    let (mut form, mut path) = (form.split('/'), path.split('/'));
    let mut args = Vec::new();
    loop {
        match (form.next(), path.next()) {
            (None, None) => return Some(args),
            (Some(place), Some(text)) if place.starts_with('{') && !text.is_empty() => {
                args.push(percent_decode_str(text).decode_utf8().ok()?.into_owned());
            }
            (Some(place), Some(text)) if place == text => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_a_path_is_one_segment_that_is_not_empty() {
        let form = "/v1/jobs/{name}/runs";
        assert_eq!(places(form, "/v1/jobs/a%2Fb/runs"), Some(vec!["a/b".to_owned()]));
        for path in ["/v1/jobs//runs", "/v1/jobs/a/b/runs", "/v1/jobs/a", "/v1/jobs/%FF/runs"] {
            assert_eq!(places(form, path), None, "{path}");
        }
    }
}
