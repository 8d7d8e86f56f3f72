//! What servers ask of recountd, and it of them: options of URLs, kinds of accounts, limits, errors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::time::Duration;

use mysql::prelude::Queryable;
use recountd::config::ServerKind;
use recountd::stores::check_url;
use recountd::stores::error::Kind;
use recountd::stores::mysql::MysqlErrorKind;
use support::tls::Authority;
use support::world::{World, articles_job};
use support::{Mariadb, eventually, servers_toml, toutiao};

#[test]
fn options_of_urls_are_understood_or_refused_with_what_would_be() {
    let authority = Authority::new("CA");
    let (one, two) = (authority.issue("one"), authority.issue("two"));
    let folder = authority.folder().display();
    for (name, text) in [("empty.pem", ""), ("words.pem", "no certificate\n")] {
        fs::write(authority.folder().join(name), text).unwrap();
    }
    let (ca, cert) = (authority.ca(), one.certificate);
    let (ca, cert, key) = (ca.display(), cert.display(), one.key.display());
    let other_key = two.key.display();
    let refused = |kind, url: &str, reason: &str| {
        let said = check_url(kind, url).expect_err(url);
        assert!(said.contains(reason), "{url}: {said}");
        assert!(!said.contains("secret"), "{url}: {said}");
    };

    for (scheme, kind) in [("mysql", ServerKind::Mysql), ("rediss", ServerKind::Redis)] {
        let url = |options: &str| format!("{scheme}://me:secret@localhost/1{options}");
        let identity = format!("?ssl-ca={ca}&ssl-cert={cert}&ssl-key={key}");
        for fine in ["", &format!("?ssl-ca={ca}"), &format!("?ssl-ca={cert}"), &identity] {
            assert_eq!(check_url(kind, &url(fine)), Ok(()), "{scheme} {fine}");
        }
        let spaced = authority.folder().join("a b.pem");
        fs::copy(authority.ca(), &spaced).unwrap();
        assert_eq!(check_url(kind, &url(&format!("?ssl-ca={folder}/a%20b.pem"))), Ok(()));
        for (options, reason) in [
            (format!("?ssl-ca={folder}/none.pem"), "/none.pem: No such file"),
            (format!("?ssl-ca={folder}/empty.pem"), "/empty.pem: it holds no certificate in PEM"),
            (format!("?ssl-ca={folder}/words.pem"), "/words.pem: it holds no certificate in PEM"),
            (format!("?ssl-ca={key}"), "one.key: it holds no certificate in PEM"),
            ("?ssl-ca=ca.pem".to_owned(), "ssl-ca=ca.pem is no whole path; begin it with /"),
            (format!("?ssl-ca={ca}&ssl-ca={ca}"), "ssl-ca is there twice"),
            (format!("?ssl-cert={cert}"), "ssl-cert and ssl-key go together"),
            (format!("?ssl-cert={cert}&ssl-key={cert}"), "it holds no private key in PEM"),
            (format!("?ssl-cert={cert}&ssl-key={other_key}"), "it is not the key of ssl-cert"),
            ("?ssl_ca=/ca.pem".to_owned(), "ssl_ca is not known; known are ssl-ca, ssl-cert"),
        ] {
            refused(kind, &url(&options), reason);
        }
    }

    let mysql = |options: &str| format!("mysql://me:secret@localhost/db{options}");
    for fine in ["DISABLED", "REQUIRED", "VERIFY_IDENTITY"] {
        assert_eq!(check_url(ServerKind::Mysql, &mysql(&format!("?ssl-mode={fine}"))), Ok(()));
    }
    assert_eq!(check_url(ServerKind::Mysql, &mysql("?socket=/run/mysqld/mysqld.sock")), Ok(()));
    for (options, reason) in [
        ("?ssl-mode=PREFERRED".to_owned(), "none of DISABLED, REQUIRED, VERIFY_IDENTITY"),
        ("?ssl-mode=VERIFY_CA".to_owned(), "write VERIFY_IDENTITY"),
        (format!("?ssl-mode=REQUIRED&ssl-ca={ca}"), "checks nothing against ssl-ca"),
        (format!("?ssl-mode=DISABLED&ssl-ca={ca}"), "uses no certificates"),
        ("?ssl-mode=REQUIRED&socket=/run/mysqld.sock".to_owned(), "a socket has no TLS"),
        ("?danger_accept_invalid_certs=true".to_owned(), "not known; known are ssl-ca"),
    ] {
        refused(ServerKind::Mysql, &mysql(&options), reason);
    }
    for (url, reason) in [
        (format!("redis://:secret@localhost/0?ssl-ca={ca}"), "begin it with rediss://"),
        ("rediss://:secret@localhost/0#insecure".to_owned(), "nothing may follow a #"),
        ("redis://:secret@localhost/0?db=3".to_owned(), "the option db is not known"),
        ("rediss://:secret@localhost/0?ssl-mode=REQUIRED".to_owned(), "ssl-mode is not known"),
    ] {
        refused(ServerKind::Redis, &url, reason);
    }
    for url in ["redis://localhost/0?protocol=resp3", "valkeys://localhost", "valkey://localhost"] {
        assert_eq!(check_url(ServerKind::Redis, url), Ok(()), "{url}");
    }
    assert_eq!(check_url(ServerKind::Redis, "redis+unix:///run/redis.sock?db=1"), Ok(()));
}

#[test]
fn check_names_the_file_that_is_missing_at_its_place() {
    let world = World::new(10, 10, "");
    let url = "mysql://me:secret@localhost/db?ssl-ca=/nowhere/ca.pem";
    world.recountd.write_jobs(&(servers_toml(url, &world.redis.url()) + &articles_job("")));
    let check = world.recountd.output(&["check"]);
    assert_eq!(check.code(), 2);
    assert!(check.stderr.contains("ssl-ca=/nowhere/ca.pem: No such file"), "{}", check.stderr);
    assert!(check.stderr.contains("jobs.toml:2:7"), "{}", check.stderr);
}

/// One cryptography in the binary: with two, rustls would have to be told which, or panic.
#[test]
fn no_second_cryptography_is_linked_in() {
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock");
    let lock = fs::read_to_string(lock).unwrap();
    assert!(lock.contains("name = \"ring\""));
    for other in ["aws-lc-rs", "openssl-sys", "rustls-openssl", "boring"] {
        assert!(!lock.contains(&format!("name = \"{other}\"")), "{other}");
    }
}

#[test]
fn accounts_of_the_plugin_ed25519_log_in() {
    let world = World::new(10, 10, "");
    let mut conn = Mariadb::shared().conn();
    conn.query_drop("INSTALL SONAME 'auth_ed25519'").unwrap();
    let create = "CREATE USER curved@'%' IDENTIFIED VIA ed25519 USING PASSWORD('topsecret')";
    conn.query_drop(create).unwrap();
    conn.query_drop("GRANT SELECT ON *.* TO curved@'%'").unwrap();
    let url = world.database.url();
    for (password, code, words) in
        [("topsecret", 0, ": reached, "), ("wrongsecret", 1, "check user, password")]
    {
        let url = url.replace("root@", &format!("curved:{password}@"));
        world.recountd.write_jobs(&(servers_toml(&url, &world.redis.url()) + &articles_job("")));
        let check = world.recountd.output(&["check", "--connect"]);
        assert_eq!(check.code(), code, "{check:#?}");
        assert!(check.stdout.contains(words), "{check:#?}");
        assert!(!format!("{check:?}").contains(password), "{check:#?}");
    }
}

/// A job that asks the session for its own limit, in ms.
fn limit_of_session(world: &World, mysql_url: &str, timeout: &str) -> Option<f64> {
    let job = format!(
        "[jobs.limit]\ncron = \"@daily\"\nsettle = \"20ms\"\ntimeout = \"{timeout}\"\n\
         guard = {{ max_changed = \"100%\" }}\ntarget = {{ zset = \"limit\" }}\n\
         query = \"SELECT 'ms', CAST(@@SESSION.max_statement_time * 1000 AS SIGNED)\"\n"
    );
    world.recountd.write_jobs(&(servers_toml(mysql_url, &world.redis.url()) + &job));
    let once = world.recountd.output(&["once", "limit"]);
    assert_eq!(once.code(), 0, "{once:#?}");
    toutiao::counters(&mut world.connection(), "limit").get("ms").copied()
}

#[test]
fn a_session_tells_the_server_its_limit_and_keeps_a_shorter_one() {
    let world = World::new(10, 10, "");
    assert_eq!(limit_of_session(&world, world.database.url(), "40s"), Some(45_000.0));
    assert_eq!(limit_of_session(&world, world.database.url(), "2500ms"), Some(7_500.0));
    // MySQL counts in 32 bits of milliseconds, and 100 days are more than that.
    let longest = f64::from(u32::MAX / 1_000 * 1_000);
    let long = limit_of_session(&world, world.database.url(), "100d").unwrap();
    assert!((long - longest).abs() <= 1_000.0, "{long}");

    let mut conn = Mariadb::shared().conn();
    conn.query_drop("CREATE USER brief@'%' WITH MAX_STATEMENT_TIME 6.5").unwrap();
    conn.query_drop("GRANT SELECT ON *.* TO brief@'%'").unwrap();
    let brief = world.database.url().replace("root@", "brief@");
    assert_eq!(limit_of_session(&world, &brief, "40s"), Some(6_500.0));
}

#[test]
fn the_server_ends_the_query_of_a_recountd_that_was_killed() {
    let world = World::new(10, 10, "");
    let job = "[jobs.slow]\ncron = \"@daily\"\ntimeout = \"4s\"\n\
               query = \"SELECT 1, SLEEP(301)\"\ntarget = { zset = \"slow\" }\n";
    world.write_jobs(job);
    let mut conn = Mariadb::shared().conn();
    let mut runs = || {
        let ids = "SELECT id FROM information_schema.processlist \
                   WHERE info LIKE '%SLEEP(301)%' AND id <> CONNECTION_ID()";
        !conn.query::<u64, _>(ids).unwrap().is_empty()
    };
    let once = world.recountd.spawn(&["once", "slow"]);
    eventually(Duration::from_secs(20), "the query runs", &mut runs);
    once.signal("KILL");
    drop(once);
    assert!(runs(), "nobody but the server's own limit ends it");
    eventually(Duration::from_secs(60), "the server ends it", || !runs());
}

#[test]
fn errors_of_servers_and_proxies_are_told_apart() {
    // The number, whether it is tried again, and a part of the way out.
    let cases = [
        (1040, true, "raise max_connections"),
        (1203, true, "raise max_connections"),
        (1226, true, "raise this limit of the user"),
        (1205, true, "it is tried again"),
        (1213, true, "it is tried again"),
        (1053, true, "the next run starts over"),
        (1927, true, "the next run starts over"),
        (2006, true, "the next run starts over"),
        (2013, true, "the next run starts over"),
        (4031, true, "the next run starts over"),
        (1317, true, "raise timeout"),
        (1969, true, "max_statement_time"),
        (3024, true, "max_execution_time"),
        (1045, false, "check user, password"),
        (1251, false, "caching_sha2_password or ed25519"),
        (1524, false, "caching_sha2_password or ed25519"),
        (2059, false, "caching_sha2_password or ed25519"),
        (3159, false, "ssl-ca"),
        (1146, false, "correct query"),
    ];
    for (code, passing, help) in cases {
        let (state, message) = ("HY000".to_owned(), "said the server".to_owned());
        let error = mysql::MySqlError { state, message, code };
        let kind = MysqlErrorKind::from(mysql::Error::MySqlError(error));
        assert_eq!(kind.is_passing(), passing, "{code} {kind:?}");
        assert!(kind.help().contains(help), "{code} {}", kind.help());
        assert!(kind.to_string().contains("said the server"), "{code} {kind}");
    }
}
