//! Adding, rescheduling and removing jobs at run time. The loop looks first, then the disk is written,
//! then the loop takes it over: what is acknowledged is on disk, and what is refused is not.

use serde_json::{Map, Value};

use super::{Api, Call, jobs, trouble};
use crate::admin::http::Reply;
use crate::admin::problem::Problem;
use crate::ask::{Answer, Ask};
use crate::config::Origin;
use crate::state::{Added, StateError};

/// The keys of a trigger, which stand for each other.
const TRIGGER: [&str; 4] = ["cron", "interval", "start", "date"];

pub fn add(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    let mut definition = object(call)?;
    let name = match definition.remove("name") {
        Some(Value::String(name)) => name,
        Some(_) => {
            return Err(trouble::invalid("/name", "`name` takes a text", "put it in quotes"));
        }
        None => {
            let help = "add a name of A-Z a-z 0-9 . _ -, as in \"order-42\"";
            return Err(trouble::invalid("/name", "the job has no `name`", help));
        }
    };
    let added = Added { name, definition };
    let key = call.request.header("idempotency-key");
    let _alone = trouble::lock(&api.changing);
    if let Err(problem) = put(api, &added, true, true) {
        return repeated(api, call, &added).ok_or(problem);
    }
    let is_new = api.added.insert(&added, key, call.now).map_err(|e| trouble::state(&e))?;
    if !is_new {
        // Its definition is on disk while it is not on the agenda: it is about to go from there.
        let refusal = crate::ask::Refusal::Exists(trouble::name(&added.name));
        return Err(trouble::refused(api, refusal));
    }
    let taken = put(api, &added, true, false).inspect_err(|_| {
        give_up(api.added.remove(&added.name));
    })?;
    api.board.catch_up(taken.told);
    // A date that was due at once may have come and gone.
    let reply = match jobs::view(api, call, &added.name) {
        Ok(view) => Reply::json(201, &view),
        Err(_) => Reply::json(201, &serde_json::json!({"name": added.name, "state": "done"})),
    };
    Ok(created(reply, &added))
}

/// The answer to a request that has been carried out, when the daemon was killed before its answer was
/// kept; `None` if it is no such request.
fn repeated(api: &Api, call: &Call<'_>, added: &Added) -> Option<Reply> {
    let key = call.request.header("idempotency-key")?;
    let view = jobs::view(api, call, &added.name).ok()?;
    // One of jobs.toml may have taken the name since.
    let is_ours = view.origin == Origin::RunTime.word();
    let is_it = is_ours && api.added.is_of(added, key).unwrap_or(false);
    is_it.then(|| created(Reply::json(201, &view), added))
}

fn created(reply: Reply, added: &Added) -> Reply {
    reply.with("Location", format!("/v1/jobs/{}", added.name))
}

pub fn reschedule(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    let change = object(call)?;
    let name = call.arg();
    if let Some(other) =
        change.keys().find(|key| !TRIGGER.contains(&key.as_str()) && *key != "timezone")
    {
        let help = "a job is rescheduled by cron, interval (and start) or date, and timezone; remove it and \
                    add it anew to change the rest";
        let detail = format!("`{other}` cannot be changed");
        return Err(trouble::invalid(&format!("/{other}"), &detail, help));
    }
    let _alone = trouble::lock(&api.changing);
    let Some(before) = api.added.find(name).map_err(|e| trouble::state(&e))? else {
        // The loop knows whether it is in jobs.toml or nowhere.
        let nothing = Added { name: name.to_owned(), definition: change };
        put(api, &nothing, false, true)?;
        return Err(trouble::no_such_job(api, name));
    };
    let mut after = before.clone();
    after.definition.retain(|key, _| !TRIGGER.contains(&key.as_str()));
    after.definition.extend(change);
    put(api, &after, false, true)?;
    api.added.replace(&after).map_err(|e| trouble::state(&e))?;
    let taken = put(api, &after, false, false).inspect_err(|_| {
        give_up(api.added.replace(&before));
    })?;
    api.board.catch_up(taken.told);
    jobs::view(api, call, name).map(|view| Reply::json(200, &view))
}

pub fn remove(api: &Api, call: &Call<'_>) -> Result<Reply, Problem> {
    let job = trouble::name(call.arg());
    let _alone = trouble::lock(&api.changing);
    let ask = |only_look| {
        let ask = Ask::Remove { job: job.clone(), only_look };
        api.hotline.ask(ask).map_err(|refusal| trouble::refused(api, refusal))
    };
    ask(true)?;
    api.added.remove(&job).map_err(|e| trouble::state(&e))?;
    let answer = ask(false)?;
    api.board.catch_up(answer.told);
    Ok(Reply::empty(204))
}

fn put(api: &Api, added: &Added, new: bool, only_look: bool) -> Result<Answer, Problem> {
    let ask = Ask::Put { added: added.clone(), new, only_look };
    api.hotline.ask(ask).map_err(|refusal| trouble::refused(api, refusal))
}

/// The loop has changed its mind since it looked (a reload, the end), and the disk is put back.
fn give_up(undone: Result<(), StateError>) {
    if let Err(error) = undone {
        log::error!("a job that was refused is still on disk: {error}");
    }
}

fn object(call: &Call<'_>) -> Result<Map<String, Value>, Problem> {
    match call.json()? {
        Some(Value::Object(map)) => Ok(map),
        _ => Err(trouble::bad_request("the body must be a JSON object")),
    }
}
