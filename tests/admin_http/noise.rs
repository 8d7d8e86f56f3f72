//! Whatever bytes come, they are answered or the connection is closed, and the next client is served.

use super::world::world;
use recountd::admin::limits::Limits;

/// Bytes that mean something to the grammar, more often than chance would bring them.
const SPICE: [&[u8]; 16] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b":",
    b"%",
    b"?",
    b"Host: a\r\n",
    b"0\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"HTTP/1.1",
    b"\xff",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
];

fn mutated(random: &mut fastrand::Rng, seeds: &[String]) -> Vec<u8> {
    if random.u8(..8) == 0 {
        return (0..random.usize(..2000)).map(|_| random.u8(..)).collect();
    }
    let mut bytes = seeds[random.usize(..seeds.len())].clone().into_bytes();
    for _ in 0..random.usize(..6) {
        let at = random.usize(..=bytes.len());
        match random.u8(..5) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 => bytes.extend_from_within(at..),
            _ => {
                let spice = SPICE[random.usize(..SPICE.len())];
                bytes.splice(at..at, spice.iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn any_bytes_are_answered_or_the_connection_is_closed() {
    let seed = std::env::var("RECOUNTD_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("RECOUNTD_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let world = world(Limits::default());
    let seeds = [
        world.request("GET /echo?a=b", "Accept: */*\r\n"),
        world.request("HEAD /healthz", ""),
        world.request("POST /echo", "Content-Length: 5\r\n") + "hello",
        world.request("POST /echo", "Expect: 100-continue\r\nContent-Length: 5\r\n") + "hello",
        world.request("PUT /echo", "Transfer-Encoding: chunked\r\n")
            + "3\r\nabc\r\n1;x=\"y\"\r\nd\r\n0\r\nT: v\r\n\r\n",
        world.request("GET /three", "") + &world.request("GET /panic", ""),
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
    ];
    for number in 0..400 {
        let bytes = mutated(&mut random, &seeds);
        let mut client = if number % 2 == 0 { world.over_unix() } else { world.over_tcp() };
        client.try_send(&bytes);
        client.finish();
        // It panics if neither an answer nor the end comes.
        let all = client.rest();
        let answered = all.is_empty() || all.starts_with(b"HTTP/1.1 ");
        assert!(answered, "{:?} to {:?}", all.escape_ascii(), bytes.escape_ascii());
    }
    for mut client in world.both() {
        assert_eq!(client.ask(world.request("GET /echo", "")).status, 200);
    }
}
