//! TLS to real servers: it works and repairs, and whatever is wrong is refused with the way out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::TcpListener;
use std::time::Duration;

use mysql::prelude::Queryable;
use support::tls::Authority;
use support::toutiao::{self, ARTICLES_KEY};
use support::world::{JOB, World, articles_job};
use support::{Mariadb, Redis, eventually, servers_toml};

const PASSWORD: &str = "topsecret";
const CA: &str = "The CA of the servers";

/// Servers whose certificates are made out to `localhost`, so that 127.0.0.1 is another name.
struct Secured {
    authority: Authority,
    mariadb: Mariadb,
    tls_port: u16,
    world: World,
}

impl Secured {
    fn new() -> Self {
        let authority = Authority::new(CA);
        let server = authority.issue("localhost");
        let [ca, cert, key] =
            [authority.ca(), server.certificate, server.key].map(|f| f.display().to_string());
        let options = [("ca", &ca), ("cert", &cert), ("key", &key)];
        let options = options.map(|(option, file)| format!("--ssl-{option}={file}"));
        let mariadb = Mariadb::start_with(&options.each_ref().map(String::as_str));
        // Redis asks for a certificate of the client unless it is told otherwise.
        let (redis, tls_port) = Redis::start_with_tls(&[
            "--tls-ca-cert-file",
            &ca,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--requirepass",
            PASSWORD,
        ]);
        let mut conn = mariadb.conn();
        for (user, demand) in [("anyone", "NONE"), ("secure", "SSL"), ("known", "X509")] {
            let account = format!("{user}@'%'");
            let create = format!("CREATE USER {account} IDENTIFIED BY '{PASSWORD}' REQUIRE");
            conn.query_drop(format!("{create} {demand}")).unwrap();
            conn.query_drop(format!("GRANT SELECT ON *.* TO {account}")).unwrap();
        }
        let world = World::on(&mariadb, redis, 2_000, 8_000, "");
        Self { authority, mariadb, tls_port, world }
    }

    fn mysql(&self, user: &str, host: &str, options: &str) -> String {
        let (port, database) = (self.mariadb.port(), self.world.database.name());
        format!("mysql://{user}:{PASSWORD}@{host}:{port}/{database}{options}")
    }

    fn redis(&self, host: &str, options: &str) -> String {
        format!("rediss://:{PASSWORD}@{host}:{}/0{options}", self.tls_port)
    }

    fn ca(&self) -> String {
        format!("?ssl-ca={}", self.authority.ca().display())
    }

    /// The CA, and a certificate of our own.
    fn ca_and_identity(&self) -> String {
        with_identity(&self.ca(), &self.authority)
    }

    /// What `check --connect` says of the servers.
    fn check(&self, mysql: &str, redis: &str) -> support::Output {
        let jobs = format!("{}{}", servers_toml(mysql, redis), articles_job(""));
        self.world.recountd.write_jobs(&jobs);
        let output = self.world.recountd.output(&["check", "--connect"]);
        assert!(!format!("{output:?}").contains(PASSWORD), "{output:#?}");
        output
    }
}

fn with_identity(options: &str, authority: &Authority) -> String {
    let client = authority.issue("client");
    let (certificate, key) = (client.certificate.display(), client.key.display());
    format!("{options}&ssl-cert={certificate}&ssl-key={key}")
}

#[test]
fn both_servers_are_reached_and_repaired_over_tls() {
    let mut secured = Secured::new();
    let options = secured.ca_and_identity();
    let redis = secured.redis("localhost", &options);
    for (user, options) in [
        ("secure", &secured.ca()),
        ("known", &options),
        ("secure", &"?ssl-mode=REQUIRED".to_owned()),
    ] {
        let mysql = secured.mysql(user, "localhost", options);
        let check = secured.check(&mysql, &redis);
        assert_eq!(check.code(), 0, "{check:#?}");
        assert_eq!(check.stdout.matches("reached").count(), 2, "{check:#?}");
        let world = &mut secured.world;
        toutiao::break_counters(&mut world.connection(), 60, 20, 10, &mut world.rng);
        assert_eq!(world.wrong().len(), 90);
        let once = world.recountd.output(&["once", JOB, "--json"]);
        assert_eq!(once.code(), 0, "{once:#?}");
        assert!(!format!("{once:?}").contains(PASSWORD), "{once:#?}");
        assert!(world.wrong().is_empty());
    }
}

#[test]
fn a_cancelled_query_is_killed_over_tls() {
    let secured = Secured::new();
    let mysql = secured.mysql("secure", "localhost", &secured.ca());
    let job = "[jobs.slow]\ncron = \"@daily\"\ntimeout = \"1s\"\nretries = 0\n\
               query = \"SELECT 1, SLEEP(300)\"\ntarget = { zset = \"slow\" }";
    let jobs = format!("{}{job}", servers_toml(&mysql, &secured.world.redis.url()));
    secured.world.recountd.write_jobs(&jobs);
    let once = secured.world.recountd.output(&["once", "slow"]);
    assert_eq!(once.code(), 1, "{once:#?}");
    let mut conn = secured.mariadb.conn();
    eventually(Duration::from_secs(10), "the query is gone", || {
        let ids = "SELECT id FROM information_schema.processlist \
                   WHERE info LIKE '%SLEEP(300)%' AND id <> CONNECTION_ID()";
        conn.query::<u64, _>(ids).unwrap().is_empty()
    });
}

#[test]
fn what_is_wrong_with_tls_is_refused_with_the_way_out() {
    let secured = Secured::new();
    let (plain_mysql, plain_redis) =
        (secured.world.database.url().to_owned(), secured.world.redis.url());
    let good = secured.ca_and_identity();
    let ca = secured.ca();
    // A CA of another name, and one that only has another key.
    let others = [Authority::new("Other"), Authority::new(CA)];
    let wrong = others.each_ref().map(|other| format!("?ssl-ca={}", other.ca().display()));
    let strange = others.each_ref().map(|other| with_identity(&ca, other));
    let lost = others.each_ref().map(|other| with_identity(&wrong[0], other));
    let public = "?ssl-mode=VERIFY_IDENTITY";
    let without_tls = format!("{}{ca}", Mariadb::shared().create_database().url());
    let tls_to_plain = plain_redis.replace("redis:", "rediss:");
    let plain_to_tls = secured.redis("localhost", "").replace("rediss:", "redis:");

    let mysql =
        |user, host, options: &str| (secured.mysql(user, host, options), plain_redis.clone());
    let redis = |host, options: &str| (plain_mysql.clone(), secured.redis(host, options));
    const UNTRUSTED: &str = "; point ssl-ca in url at the CA that signed it";
    const OTHER_NAME: &str = "; write the host in url as the certificate has it";
    const OURS: &str = "; add ssl-cert and ssl-key to url, of a CA that the server trusts";
    const DEMANDED: &str = "and whether TLS (ssl-… in url) is demanded";
    const SCHEME: &str = "rediss:// just where there is TLS";
    let cases = [
        (mysql("anyone", "localhost", &wrong[0]), UNTRUSTED),
        (mysql("anyone", "localhost", &wrong[1]), UNTRUSTED),
        (mysql("anyone", "localhost", public), UNTRUSTED),
        (mysql("anyone", "127.0.0.1", &ca), OTHER_NAME),
        (mysql("secure", "localhost", ""), DEMANDED),
        (mysql("known", "localhost", &ca), DEMANDED),
        (mysql("anyone", "localhost", &strange[0]), OURS),
        (mysql("anyone", "localhost", &strange[1]), OURS),
        ((without_tls, plain_redis.clone()), "the server offers no TLS; switch TLS on there"),
        (redis("localhost", &lost[0]), UNTRUSTED),
        (redis("localhost", ""), UNTRUSTED),
        (redis("127.0.0.1", &good), OTHER_NAME),
        (redis("localhost", &ca), OURS),
        (redis("localhost", &strange[0]), OURS),
        (redis("localhost", &strange[1]), OURS),
        ((plain_mysql.clone(), tls_to_plain), SCHEME),
        ((plain_mysql.clone(), plain_to_tls), SCHEME),
    ];
    for ((mysql, redis), way_out) in cases {
        let check = secured.check(&mysql, &redis);
        assert_eq!(check.code(), 1, "{mysql} {redis} {check:#?}");
        assert!(check.stdout.contains(way_out), "{mysql} {redis} {check:#?}");
        for line in check.stdout.lines().filter(|line| line.contains(way_out)) {
            println!("{line}");
        }
    }

    let mut conn = secured.mariadb.conn();
    let plain = secured.check(&secured.mysql("anyone", "localhost", ""), &plain_redis);
    assert_eq!(plain.code(), 0, "{plain:#?}");
    // MariaDB calls it a denied access; MySQL has an error of its own for it.
    conn.query_drop("SET GLOBAL require_secure_transport = ON").unwrap();
    let plain = secured.check(&secured.mysql("anyone", "localhost", ""), &plain_redis);
    assert!(plain.stdout.contains(DEMANDED), "{plain:#?}");
    let tls = secured.check(&secured.mysql("anyone", "localhost", &secured.ca()), &plain_redis);
    assert_eq!(tls.code(), 0, "{tls:#?}");
}

#[test]
fn a_server_that_says_nothing_is_given_up_with_tls_as_well() {
    let authority = Authority::new("Other");
    let world = World::new(10, 10, "");
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("127.0.0.1:{}", mute.local_addr().unwrap().port());
    let ca = format!("?ssl-ca={}", authority.ca().display());
    let mysql = format!("mysql://root@{place}/db{ca}");
    let redis = format!("rediss://{place}/0{ca}");
    let jobs = format!("{}{}", servers_toml(&mysql, &redis), articles_job(""));
    world.recountd.write_jobs(&jobs);
    // `output` waits two minutes at most.
    let check = world.recountd.output(&["check", "--connect"]);
    assert_eq!(check.stdout.matches("no answer within 2 s").count(), 2, "{check:#?}");
}

#[test]
fn nothing_is_written_when_a_server_is_not_trusted() {
    let secured = Secured::new();
    let other = Authority::new("Other");
    let options = secured.ca_and_identity();
    let mysql = secured.mysql("anyone", "localhost", &format!("?ssl-ca={}", other.ca().display()));
    let jobs = format!(
        "{}{}",
        servers_toml(&mysql, &secured.redis("localhost", &options)),
        articles_job("retries = 0")
    );
    secured.world.recountd.write_jobs(&jobs);
    redis::cmd("DEL").arg(ARTICLES_KEY).exec(&mut secured.world.connection()).unwrap();
    let once = secured.world.recountd.output(&["once", JOB]);
    assert_eq!(once.code(), 1, "{once:#?}");
    assert!(format!("{once:?}").contains("no trusted CA has signed"), "{once:#?}");
    assert!(!secured.world.image().contains_key(ARTICLES_KEY));
}
