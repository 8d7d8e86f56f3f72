//! The routes of the scheduler that was inside the web app, in their shapes, over TCP with the token as well.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::house::{House, SOON, articles, members, release};
use super::support::http::Client;
use super::support::world::{JOB, World, articles_job};

pub const TOKEN: &str = "a-token-of-48-characters-which-nobody-shall-see!";

/// A house that also listens on TCP, with the client of that.
pub fn over_tcp(settings: &str) -> (House, Client) {
    let mut world = World::new(20, 400, "");
    world.recountd = world.recountd.env("RECOUNTD_TOKEN", TOKEN);
    let socket = world.recountd.folder().join("recountd.sock");
    let admin = format!(
        "[admin]\nlisten = [\"unix:{}\", \"127.0.0.1:0\"]\ntoken = \"${{RECOUNTD_TOKEN}}\"\n",
        socket.display()
    );
    world.write_jobs(&format!("{admin}{}", articles_job(settings)));
    let house = House::of(world);
    let line = house.daemon.wait_for_line("listening on 127.0.0.1:", SOON);
    let address: SocketAddr = line.rsplit(' ').next().unwrap().parse().expect("an address");
    let client = Client::tcp(address, TOKEN);
    (house, client)
}

#[test]
fn the_old_list_has_its_old_shape_over_a_socket_and_over_tcp() {
    let (house, tcp) =
        over_tcp("description = \"articles per user\"\ntimezone = \"Asia/Shanghai\"");
    let more = [
        articles("b-interval", &json!({"interval": "26h3m4s"})),
        articles("c-seconds", &json!({"cron": "30 */5 9-17 * * mon-fri"})),
        articles("d-date", &json!({"date": "2036-01-02T03:04:05Z", "timezone": "Asia/Shanghai"})),
        articles("e-short", &json!({"interval": "90s"})),
    ];
    for job in more {
        house.add(&job).expect(201);
    }
    let list = tcp.get("/admin/scheduled-jobs").expect(200);
    let jobs = list.as_array().expect("an array, as it was");
    for job in jobs {
        assert_eq!(members(job), ["id", "name", "next_run_time", "trigger"]);
    }
    let told: Vec<(&str, &str, &str)> = jobs
        .iter()
        .map(|job| {
            let text = |key: &str| job[key].as_str().unwrap();
            (text("id"), text("name"), text("trigger"))
        })
        .collect();
    let expected = [
        ("b-interval", "b-interval", "interval[1 day, 2:03:04]"),
        (
            "c-seconds",
            "c-seconds",
            "cron[month='*', day='*', day_of_week='mon-fri', hour='9-17', minute='*/5', second='30']",
        ),
        ("d-date", "d-date", "date[2036-01-02 11:04:05+08:00]"),
        ("e-short", "e-short", "interval[0:01:30]"),
        (
            JOB,
            "articles per user",
            "cron[month='*', day='*', day_of_week='*', hour='3', minute='0']",
        ),
    ];
    assert_eq!(told, expected);
    let next = jobs.last().unwrap()["next_run_time"].as_str().unwrap();
    assert!(next.ends_with("T03:00:00+08:00"), "{next}");
    house.client.post(&format!("/v1/jobs/{JOB}/pause")).expect(200);
    let list = house.client.get("/admin/scheduled-jobs").expect(200);
    assert!(list.as_array().unwrap().last().unwrap()["next_run_time"].is_null(), "as it was");
}

#[test]
fn the_old_trigger_has_its_old_shapes_over_a_socket_and_over_tcp() {
    let (house, tcp) = over_tcp("");
    for client in [&house.client, &tcp] {
        house.world.shift(1.0);
        let path = format!("/admin/jobs/{JOB}/trigger");
        let held = house.hold();
        let answer = client.post(&path).expect(200);
        assert_eq!(answer, json!({"message": format!("Job {JOB} triggered")}));
        let busy = client.post(&path).expect(409);
        assert_eq!(members(&busy), ["error"]);
        let run = house.runs(JOB)[0]["id"].as_u64().unwrap();
        assert!(busy["error"].as_str().unwrap().contains(&format!("run {run}")), "{busy:#}");
        release(held);
        assert_eq!(house.ended(run)["outcome"], "repaired");
        let missing = client.post("/admin/jobs/no-such-job/trigger");
        assert_eq!(missing.expect(404), json!({"error": "Job no-such-job not found"}));
        assert_eq!(missing.header("content-type"), Some("application/json"));
    }
}

#[test]
fn the_old_trigger_knows_the_key_of_a_retry() {
    let (house, tcp) = over_tcp("");
    let path = format!("/admin/jobs/{JOB}/trigger");
    let first = tcp.post_once(&path, "k", None);
    first.expect(200);
    let again = tcp.post_once(&path, "k", None);
    assert_eq!((&again.body, again.header("idempotency-replayed")), (&first.body, Some("true")));
    assert_eq!(house.runs(JOB).len(), 1);
}

#[test]
fn over_tcp_the_token_is_needed_but_for_four_paths() {
    let (house, tcp) = over_tcp("");
    let address = tcp.address();
    for client in [Client::tcp(address, "another-token-that-is-long-enough"), Client::bare(address)]
    {
        for path in ["/", "/healthz", "/readyz", "/v1/openapi.json"] {
            assert_eq!(client.get(path).status, 200, "{path}");
        }
        let trigger = format!("/v1/jobs/{JOB}/trigger");
        let refused = [
            client.get("/v1/jobs"),
            client.get("/metrics"),
            client.get("/v1/events"),
            client.get("/v1/no-such-path"),
            client.get("/admin/scheduled-jobs"),
            client.post(&trigger),
            client.post(&format!("/admin/jobs/{JOB}/trigger")),
            client.delete("/v1/jobs/a"),
        ];
        for refused in refused {
            refused.problem(401, "token");
            assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
        let key = client.post_once(&trigger, "k", None);
        key.problem(401, "token");
    }
    assert!(house.runs(JOB).is_empty());
    // That somebody without a token used a key is nothing to remember.
    let run = tcp.post_once(&format!("/v1/jobs/{JOB}/trigger"), "k", None).expect(202);
    assert!(run["run"].is_u64());
    let all = |path: &str| -> Value { tcp.get(path).expect(200) };
    assert_eq!(all("/v1/jobs")["jobs"].as_array().unwrap().len(), 1);
    let mut events = tcp.events("/v1/events");
    assert_eq!(events.next(SOON).unwrap().kind, "hello");
}
