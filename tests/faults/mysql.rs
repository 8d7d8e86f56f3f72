//! Faults of MySQL.

use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::support::proxy::{Fault, Way};
use super::support::toutiao::ARTICLES_QUERY;
use super::support::{Mariadb, eventually, mariadb};
use super::trial::{SOON, Setting, Trial, under_traffic};

/// What begins each query, in the order: compared, confirmed.
const QUERY: &str = "START TRANSACTION";

const OWN: Setting = Setting { job: "", redis: &[], own_mariadb: true, calm: false, haste: false };

/// A trial whose query takes about a second, so that faults can come in the midst of its rows.
fn slow_query(trial: &Trial) {
    trial.change_job(|text| {
        let slow = format!("SELECT user_id, n + SLEEP(0.002) FROM ({}) slow", counted());
        text.replace(ARTICLES_QUERY, &slow)
    });
}

fn counted() -> String {
    ARTICLES_QUERY.replace("COUNT(article_id)", "COUNT(article_id) AS n")
}

fn restore_query(trial: &Trial) {
    trial.change_job(|text| {
        let begin = text.find("query = \"").unwrap();
        let end = begin + text[begin..].find('\n').unwrap();
        format!("{}query = \"{ARTICLES_QUERY}\"{}", &text[..begin], &text[end..])
    });
}

/// The connections in which the query runs now.
fn running(conn: &mut Conn, database: &str) -> Vec<u64> {
    let look = "SELECT id FROM information_schema.processlist \
                WHERE db = ? AND info LIKE '%SLEEP(0.002)%' AND info NOT LIKE '%processlist%'";
    conn.exec(look, (database,)).unwrap()
}

fn wait_until_it_runs(trial: &Trial) -> u64 {
    let mut conn = trial.world.mysql();
    let name = trial.world.database.name();
    eventually(SOON, "the query runs", || !running(&mut conn, name).is_empty());
    running(&mut conn, name)[0]
}

#[test]
fn mysql_killed_in_the_midst_of_the_rows() {
    under_traffic(OWN, |trial| {
        slow_query(trial);
        let run = trial.spawn_once();
        wait_until_it_runs(trial);
        thread::sleep(Duration::from_millis(200));
        trial.mariadb.as_ref().unwrap().kill();
        let report = trial.failed(run);
        trial.mariadb.as_mut().unwrap().restart();
        trial.assert_nothing_written();
        assert!(report.contains("MySQL main"), "{report}");
        restore_query(trial);
    });
}

#[test]
fn mysql_killed_between_the_comparison_and_the_truth() {
    under_traffic(OWN, |trial| {
        trial.to_mysql.trap(QUERY, 2, Fault::Hold(Way::Requests));
        let run = trial.spawn_once();
        trial.to_mysql.wait_until_held(Way::Requests, SOON);
        trial.mariadb.as_ref().unwrap().kill();
        trial.to_mysql.release();
        trial.failed(run);
        trial.mariadb.as_mut().unwrap().restart();
        trial.assert_nothing_written();
    });
}

#[test]
fn the_connection_killed_in_the_midst_of_the_rows() {
    under_traffic(Setting::default(), |trial| {
        for order in ["KILL", "KILL QUERY"] {
            slow_query(trial);
            let run = trial.spawn_once();
            let id = wait_until_it_runs(trial);
            thread::sleep(Duration::from_millis(200));
            trial.world.mysql().query_drop(format!("{order} {id}")).unwrap();
            trial.failed(run);
            trial.assert_nothing_written();
            restore_query(trial);
        }
    });
}

#[test]
fn mysql_gone_away_while_the_counters_are_watched() {
    under_traffic(Setting::default(), |trial| {
        // The connection is idle then, and only the next query finds it gone.
        trial.to_redis.trap("ZMSCORE", 9, Fault::Hold(Way::Requests));
        let run = trial.spawn_once();
        trial.to_redis.wait_until_held(Way::Requests, SOON);
        trial.to_mysql.cut();
        trial.to_redis.release();
        let report = trial.failed(run);
        assert!(report.contains("MySQL main"), "{report}");
        trial.assert_nothing_written();
    });
}

/// A function that fails with `code` once it was called so many times in a connection. The rows before have been sent
/// by then: the error comes in the midst of the stream, as a deadlock's would.
fn fails_at(trial: &Trial, call: u64, code: u16) {
    let mut conn = trial.world.mysql();
    conn.query_drop("DROP FUNCTION IF EXISTS stumble").unwrap();
    conn.query_drop(format!(
        "CREATE FUNCTION stumble(n BIGINT) RETURNS BIGINT NOT DETERMINISTIC BEGIN \
           SET @calls = COALESCE(@calls, 0) + 1; \
           IF @calls = {call} THEN \
             SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = 'as the test says'; \
           END IF; \
           RETURN n; END"
    ))
    .unwrap();
    trial.change_job(|text| {
        let query = format!("SELECT user_id, stumble(n) FROM ({}) q", counted());
        text.replace(ARTICLES_QUERY, &query)
    });
}

#[test]
fn an_error_at_any_row_of_the_stream() {
    under_traffic(Setting::default(), |trial| {
        let rows = trial.rows();
        let calls = [1, 2, rows / 2, rows - 1, rows, rows + 1, rows + 40];
        let codes = [1213, 1205, 1317, 1969, 1021, 1030, 3024];
        for (call, code) in calls.into_iter().zip(codes) {
            fails_at(trial, call, code);
            let report = trial.failed(trial.spawn_once());
            assert!(report.contains(&format!("error {code}")), "row {call}: {report}");
            trial.assert_nothing_written();
            restore_query(trial);
        }
    });
}

#[test]
fn max_statement_time() {
    under_traffic(OWN, |trial| {
        let mut conn = trial.world.mysql();
        conn.query_drop("CREATE USER slow@'%' WITH MAX_STATEMENT_TIME 0.3").unwrap();
        conn.query_drop("GRANT SELECT ON *.* TO slow@'%'").unwrap();
        slow_query(trial);
        trial.change_job(|text| text.replace("root@", "slow@"));
        let report = trial.failed(trial.spawn_once());
        assert!(report.contains("1969") && report.contains("raise timeout"), "{report}");
        trial.assert_nothing_written();
        restore_query(trial);
    });
}

/// Connections of somebody else, so many that the server takes no more.
fn crowd(mariadb: &Mariadb) -> Vec<Conn> {
    let mut conn = mariadb.conn();
    conn.query_drop("CREATE USER app@'%'").unwrap();
    conn.query_drop("GRANT SELECT ON *.* TO app@'%'").unwrap();
    conn.query_drop("SET GLOBAL max_connections = 20").unwrap();
    let url = mariadb.url("").replace("root@", "app@");
    // This connection and others that end just now leave their places free a moment later.
    drop(conn);
    let (mut crowd, mut refused) = (Vec::new(), 0);
    while refused < 10 {
        match mariadb::try_connect(&url) {
            Ok(conn) => crowd.push(conn),
            Err(_) => {
                refused += 1;
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
    crowd
}

#[test]
fn too_many_connections() {
    under_traffic(OWN, |trial| {
        let mut conn = trial.world.mysql();
        let crowd = crowd(trial.mariadb.as_ref().unwrap());
        trial.change_job(|text| text.replace("root@", "app@"));
        let report = trial.failed(trial.spawn_once());
        assert!(report.contains("raise max_connections"), "{report}");
        drop(crowd);
        conn.query_drop("SET GLOBAL max_connections = 200").unwrap();
        trial.assert_nothing_written();
    });
}

#[test]
fn too_many_connections_of_one_user() {
    under_traffic(OWN, |trial| {
        let mariadb = trial.mariadb.as_ref().unwrap();
        let mut conn = mariadb.conn();
        conn.query_drop("CREATE USER app@'%' WITH MAX_USER_CONNECTIONS 2").unwrap();
        conn.query_drop("GRANT SELECT ON *.* TO app@'%'").unwrap();
        let url = mariadb.url("").replace("root@", "app@");
        let others = [(); 2].map(|()| mariadb::connect(&url));
        trial.change_job(|text| text.replace("root@", "app@"));
        let report = trial.failed(trial.spawn_once());
        assert!(report.contains("max_user_connections"), "{report}");
        trial.assert_nothing_written();
        drop(others);
    });
}

#[test]
fn mysql_mute_or_frozen_is_given_up_when_the_time_is_over() {
    let setting = Setting { job: "timeout = \"2s\"", calm: true, ..OWN };
    under_traffic(setting, |trial| {
        // The first reply of all, the greeting; then those to both queries.
        for query in [0, 1, 2] {
            match query {
                0 => trial.to_mysql.hold(Way::Replies),
                nth => trial.to_mysql.trap(QUERY, nth, Fault::Hold(Way::Replies)),
            }
            let run = trial.spawn_once();
            trial.to_mysql.wait_until_held(Way::Replies, SOON);
            trial.failed(run);
            trial.to_mysql.cut();
            trial.assert_nothing_written();
        }
        let mariadb = trial.mariadb.as_ref().unwrap();
        mariadb.freeze();
        let mut run = trial.spawn_once();
        let code = run.wait_exit(SOON).code();
        mariadb.thaw();
        assert_eq!(code, Some(1));
        trial.assert_nothing_written();
    });
}

/// What is in flight at T is not repaired: it lands within settle, and then the counter has moved.
#[test]
fn increments_in_flight_while_the_truth_is_taken_are_not_counted_twice() {
    under_traffic(Setting::default(), |trial| {
        trial.to_mysql.trap(QUERY, 2, Fault::Hold(Way::Requests));
        let mut run = trial.spawn_once();
        trial.to_mysql.wait_until_held(Way::Requests, SOON);
        let begun = Instant::now();
        trial.app_commits();
        trial.to_mysql.release();
        thread::sleep(trial.settle / 2);
        trial.app_increments();
        trial.in_flight = begun.elapsed();
        let code = run.wait_exit(SOON).code();
        assert!([Some(0), Some(3)].contains(&code), "{:?}", run.stdout.lines());
    });
}

/// The same for an app that increments first and commits afterwards: the watch begins a settle before T.
#[test]
fn increments_that_come_before_their_commit_are_not_taken_back() {
    under_traffic(Setting::default(), |trial| {
        // The comparison is over then, but for its last rows.
        trial.to_mysql.trap("ROLLBACK", 1, Fault::Hold(Way::Requests));
        let mut run = trial.spawn_once();
        trial.to_mysql.wait_until_held(Way::Requests, SOON);
        let begun = Instant::now();
        trial.app_increments();
        trial.to_mysql.release();
        thread::sleep(trial.settle / 2);
        trial.app_commits();
        trial.in_flight = begun.elapsed();
        let code = run.wait_exit(SOON).code();
        assert!([Some(0), Some(3)].contains(&code), "{:?}", run.stdout.lines());
    });
}

/// R6 writes while the rows still come: what is there when the stream breaks stays, each value right.
#[test]
fn an_error_late_in_the_rebuilding_of_a_lost_key() {
    under_traffic(Setting { calm: true, ..Setting::default() }, |trial| {
        trial.lose_the_key();
        let rows = trial.rows();
        // The result is looked through once before anything is written.
        fails_at(trial, 2 * rows - 1, 1213);
        let report = trial.failed(trial.spawn_once());
        assert!(report.contains("error 1213"), "{report}");
        assert!(trial.repaired() > 0, "something was written by then");
        restore_query(trial);
    });
}
