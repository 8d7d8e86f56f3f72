#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! What `[admin]` of jobs.toml may say, what each mistake in it is answered with, and that a token is never shown.

mod common_config;

use std::path::PathBuf;

use common_config::{VALID, accepted, parse, refused};
use recountd::config::{Address, Admin, Problem, Token};

/// What a valid file with this table says.
#[track_caller]
fn admin(lines: &str) -> Admin {
    accepted(&format!("{VALID}[admin]\n{lines}\n")).admin
}

/// All that a person is shown of a file with these lines, which is refused; `Debug` is for logs.
#[track_caller]
fn shown(lines: &str) -> String {
    let text = format!("{VALID}{lines}");
    let errors = parse(&text).expect_err(&text);
    format!("{errors}\n{errors:?}")
}

#[test]
fn without_the_table_or_with_an_empty_one_the_file_does_not_say_where_to_listen() {
    assert_eq!(accepted(VALID).admin, Admin::default());
    assert_eq!(admin(""), Admin { hosts: Vec::new(), ..Admin::default() });
    assert_eq!(admin("listen = []").listen, Some(Vec::new()), "nowhere at all");
}

#[test]
fn every_form_of_address_is_read_in_the_order_of_the_file() {
    let lines = r#"
        token = "${TOKEN}"
        listen = ["unix:/run/recountd/admin.sock", "127.0.0.1:7878", "[::1]:0", "127.9.9.9:65535"]
        "#;
    let listen = admin(lines).listen.unwrap();
    assert_eq!(listen[0], Address::Unix(PathBuf::from("/run/recountd/admin.sock")));
    assert_eq!(listen[2], Address::Tcp("[::1]:0".parse().unwrap()));
    // It is shown as it is written.
    let words: Vec<String> = listen.iter().map(Address::to_string).collect();
    let written = ["unix:/run/recountd/admin.sock", "127.0.0.1:7878", "[::1]:0", "127.9.9.9:65535"];
    assert_eq!(words, written);
}

#[test]
fn an_address_that_others_reach_has_to_be_meant() {
    let listen = "listen = ['0.0.0.0:7878', '[::]:7878', '192.0.2.1:80', '[2001:db8::1]:80']";
    let admin = admin(&format!("allow_remote = true\ntoken = '${{TOKEN}}'\n{listen}"));
    assert_eq!(admin.listen.unwrap().len(), 4);
    let lines = r#"
[admin]
token = "${TOKEN}"
listen = [
  «"0.0.0.0:7878"»,
#! `0.0.0.0:7878` can be reached from other machines
#? write allow_remote = true in [admin] if that is meant; there is no TLS, so put a proxy in front of it
  «"[::]:7878"»,
#! `[::]:7878` can be reached from other machines
#? write allow_remote = true in [admin] if that is meant; there is no TLS, so put a proxy in front of it
  "127.0.0.1:7878",
  «'[::ffff:127.0.0.1]:80'»,
#! `[::ffff:127.0.0.1]:80` can be reached from other machines
#? write allow_remote = true in [admin] if that is meant; there is no TLS, so put a proxy in front of it
]
allow_remote = false
"#;
    refused(lines);
}

#[test]
fn an_address_over_tcp_wants_a_token_and_a_socket_does_not() {
    let admin = admin("listen = ['unix:/run/a.sock']\nallow_remote = true");
    assert_eq!((admin.listen.map(|l| l.len()), admin.token), (Some(1), None));
    let lines = r#"
[admin]
allow_remote = true
listen = ["unix:/run/a.sock", «"127.0.0.1:7878"», "unix:/run/b.sock"]
#! `127.0.0.1:7878` would let in everybody on this machine #? add token = "${RECOUNTD_TOKEN}" to [admin]
"#;
    refused(lines);
}

#[test]
fn what_is_no_address_is_refused_with_the_two_forms() {
    for wrong in [
        "",
        "localhost:7878",
        "127.0.0.1",
        "127.0.0.1:",
        ":7878",
        "7878",
        "::1:7878",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.1:80",
        " 127.0.0.1:80",
        "[::1%lo]:80",
        "unix:",
        "unix:admin.sock",
        "unix:./admin.sock",
        "unix: /run/admin.sock",
        "unix:@abstract",
        "UNIX:/run/admin.sock",
        "/run/admin.sock",
        "http://127.0.0.1:7878",
        "tcp:127.0.0.1:7878",
    ] {
        refused(&format!(
            "[admin]\ntoken = '${{TOKEN}}'\nlisten = [«'{wrong}'»]\n#! cannot listen at `{wrong}` \
             #? write \"unix:/run/recountd/admin.sock\" or \"127.0.0.1:7878\"\n"
        ));
    }
}

#[test]
fn a_value_of_another_type_and_an_unknown_key_are_refused_with_what_the_table_takes() {
    let lines = r#"
[admin]
listen = «"127.0.0.1:7878"»
#! `listen` takes addresses in quotes, as in ["unix:/run/recountd/admin.sock"], not a string
#? write `listen` as addresses in quotes, as in ["unix:/run/recountd/admin.sock"]
hosts = «["a", 7]»
#! `hosts` takes names in quotes, as in ["recountd.example.org"], not an array
#? write `hosts` as names in quotes, as in ["recountd.example.org"]
allow_remote = «"yes"»
#! `allow_remote` takes true or false, not a string #? write `allow_remote` as true or false
"#;
    refused(lines);
    let text = format!("admin = 3\n{VALID}");
    assert_eq!(
        parse(&text).unwrap_err().problems().next().unwrap().to_string(),
        "`admin` takes a table, not an integer"
    );
    for (key, help) in [
        ("lisen", "did you mean `listen`?"),
        ("tokn", "did you mean `token`?"),
        ("allow-remote", "did you mean `allow_remote`?"),
        ("readtoken", "did you mean `read_token`?"),
        ("port", "it takes listen, token, read_token, allow_remote, hosts"),
    ] {
        let errors = parse(&format!("{VALID}[admin]\n{key} = ['x']\n")).unwrap_err();
        let problems: Vec<&Problem> = errors.problems().collect();
        assert_eq!(problems[0].to_string(), format!("unknown key `{key}` in [admin]"));
        assert_eq!((problems.len(), problems[0].help().as_deref()), (1, Some(help)));
    }
}

#[test]
fn hosts_are_names_in_any_case() {
    let admin = admin("hosts = ['Recountd.Example.ORG', 'box']");
    assert_eq!(admin.hosts, ["recountd.example.org", "box"]);
}

#[test]
fn a_token_comes_from_the_environment_or_a_credential_and_is_never_shown() {
    for (placeholder, secret) in [
        ("${TOKEN}", "correct horse battery"),
        ("${credential:recountd-token}", "tr0ub4dor&3 staple"),
        // What an editor or an `echo` leaves around it is no part of it.
        ("${TOKEN_OF_16}", "0123456789abcdef"),
    ] {
        let config = accepted(&format!("{VALID}[admin]\ntoken = '{placeholder}'\n"));
        assert_eq!(config.admin.token, Some(Token::new(secret.to_owned())));
        assert_eq!(config.admin.token.as_ref().unwrap().reveal(), secret);
        for shown in [format!("{config:?}"), format!("{config:#?}"), format!("{:?}", config.admin)]
        {
            assert!(shown.contains("Token(***)") && !shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn a_token_that_is_not_there_or_can_be_guessed_is_refused_at_its_line() {
    for (placeholder, answer) in [
        (
            "${NONE}",
            "`${NONE}` in `token`: the environment variable NONE is not set #? set the environment variable NONE",
        ),
        (
            "${credential:none}",
            "`${credential:none}` in `token`: there is no credential none \
             #? start it under systemd with LoadCredential=, or set CREDENTIALS_DIRECTORY",
        ),
        (
            "${TOKEN_OF_15}",
            "the value of `token` is shorter than 16 characters #? make one with `openssl rand -hex 32`",
        ),
    ] {
        let line = format!("[admin]\ntoken = «\"{placeholder}\"»\n#! {answer}\n");
        refused(&line);
        // It is not said twice that TCP has none.
        refused(&format!("{line}listen = [\"127.0.0.1:7878\"]\n"));
    }
    assert!(!shown("[admin]\ntoken = '${TOKEN_OF_15}'").contains("0123456789abcde"));
}

#[test]
fn a_token_in_the_file_itself_is_refused_and_its_line_is_masked() {
    let errors = parse(&format!("{VALID}[admin]\ntoken = \"s3cr3t-s3cr3t-s3cr3t\"\n")).unwrap_err();
    let lines = "error: `token` must not stand in this file\n\
                 \x20 --> etc/jobs.toml:11:9\n   |\n11 | token = ***\n   |         ^^^\n   |\n   \
                 = help: write \"${RECOUNTD_TOKEN}\" or \"${credential:recountd-token}\"\n";
    assert!(errors.to_string().starts_with(lines), "{errors}");
}

#[test]
fn a_read_token_follows_the_rules_of_the_token_and_is_never_the_same() {
    let both = "token = '${TOKEN}'\nread_token = '${credential:recountd-token}'";
    let config = accepted(&format!("{VALID}[admin]\n{both}\nlisten = ['127.0.0.1:80']\n"));
    assert_eq!(config.admin.read_token.as_ref().unwrap().reveal(), "tr0ub4dor&3 staple");
    assert!(!format!("{config:?}").contains("tr0ub4dor"));
    // Over TCP, reading alone is enough; the socket is there for the rest.
    let reader = admin("read_token = '${TOKEN}'\nlisten = ['127.0.0.1:80']");
    assert_eq!((reader.token, reader.listen.map(|l| l.len())), (None, Some(1)));
    for (value, answer) in [
        (
            "${NONE}",
            "`${NONE}` in `read_token`: the environment variable NONE is not set \
             #? set the environment variable NONE",
        ),
        (
            "${TOKEN_OF_15}",
            "the value of `read_token` is shorter than 16 characters #? make one with `openssl rand -hex 32`",
        ),
        (
            "${TOKEN}",
            "the value of `read_token` is that of `token` #? make one with `openssl rand -hex 32`",
        ),
    ] {
        let line = format!("read_token = «\"{value}\"»\n#! {answer}\n");
        refused(&format!("[admin]\ntoken = \"${{TOKEN}}\"\n{line}"));
        refused(&format!("[admin]\n{line}token = \"${{TOKEN}}\"\n"));
    }
    let shown = shown("[admin]\nread_token = \"s3cr3t-s3cr3t-s3cr3t\"\n");
    for part in [
        "`read_token` must not stand in this file",
        "read_token = ***",
        "write \"${RECOUNTD_READ_TOKEN}\" or \"${credential:recountd-read-token}\"",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    assert!(!shown.contains("s3cr3t"), "{shown}");
}

#[test]
fn wherever_a_token_was_put_by_mistake_no_error_repeats_it() {
    const SECRET: &str = "s3cr3t-s3cr3t";
    for lines in [
        "[admin]\ntoken = \"s3cr3t-s3cr3t\"",
        "[admin]\ntoken = 's3cr3t-s3cr3t' # for now",
        "[admin]\ntoken = \"\"\"s3cr3t-s3cr3t\"\"\"",
        "[admin]\ntoken = '''\ns3cr3t-s3cr3t\n'''",
        "[admin]\ntoken = '''\ns3cr3t-s3cr3t\n''' x",
        "[admin]\ntoken = s3cr3t-s3cr3t",
        "[admin]\ntoken = \"s3cr3t-s3cr3t",
        "[admin]\ntoken s3cr3t-s3cr3t",
        "[admin]\ntoken: s3cr3t-s3cr3t",
        "[admin]\ntoken = [\"s3cr3t-s3cr3t\"]",
        "[admin]\ntoken = [\n\"s3cr3t-s3cr3t\", x\n]",
        "[admin]\ntoken = { value = 's3cr3t-s3cr3t' }",
        "[admin]\ntokn = 's3cr3t-s3cr3t'",
        "[admin]\n\"token\" = 's3cr3t-s3cr3t'",
        "[ admin ]\nbearer = 's3cr3t-s3cr3t'",
        "[\"admin\"]\nbearer = 's3cr3t-s3cr3t'",
        "[admin]\nlisten = ['0.0.0.0:80'], token = 's3cr3t-s3cr3t'",
        "[admin]\nlisten = ['0.0.0.0:80'] # token = 's3cr3t-s3cr3t'",
        "[admin]\ntoken = '${TOKEN}s3cr3t-s3cr3t'",
        "[admin]\ntoken = '${NONE:-s3cr3t-s3cr3t}'",
        "[admin]\ntoken = '${TOKEN}${s3cr3t-s3cr3t}'",
        "[admin]\ntoken = '${s3cr3t-s3cr3t'",
        "[admin.token]\nvalue = 's3cr3t-s3cr3t'",
        "[admin]\ntoken = '${TOKEN}'\ntoken = 's3cr3t-s3cr3t'",
        "token = 's3cr3t-s3cr3t'",
        "[daemon]\ntoken = 's3cr3t-s3cr3t'",
        "[daemon]\nadmin_token = 's3cr3t-s3cr3t'",
        "[daemon]\nadmin = { bearer = 's3cr3t-s3cr3t' }",
        "[daemon]\nadmin.bearer = 's3cr3t-s3cr3t'",
    ] {
        let shown = shown(lines);
        assert!(!shown.contains(SECRET), "{lines}\n{shown}");
    }
    for first in [
        "admin = { token = 's3cr3t-s3cr3t' }",
        "admin = { tokn = 's3cr3t-s3cr3t' }",
        "admin = {\n  tokn = 's3cr3t-s3cr3t'\n}",
        "admin.token = 's3cr3t-s3cr3t'",
        "admin.tokn = 's3cr3t-s3cr3t'",
        "token = 's3cr3t-s3cr3t'",
    ] {
        let text = format!("{first}\n{VALID}");
        let errors = parse(&text).expect_err(&text);
        let shown = format!("{errors}\n{errors:?}");
        assert!(!shown.contains(SECRET), "{text}\n{shown}");
    }
}

#[test]
fn a_token_that_is_a_number_is_masked_as_well() {
    let shown = shown("[admin]\ntoken = 1234567890123456\n");
    assert!(shown.contains(
        "`token` takes a placeholder in quotes, as in \"${RECOUNTD_TOKEN}\", not an integer"
    ));
    assert!(shown.contains("token = ***") && !shown.contains("1234567890123456"), "{shown}");
}
