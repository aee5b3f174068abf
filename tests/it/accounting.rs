//! What a link has taken is exact, with many clients at once and a server that is killed among them.

use std::io;
use std::time::Duration;

use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::Multipart;
use crate::program::Bench;
use crate::server::{Server, content, text, wait_until};
use crate::store::only_in_a_folder;

/// Soon what nobody goes on with has expired.
const ARGS: [&str; 2] = ["--upload-lifetime", "2s"];
const TAKES: usize = 5;
const SIZE: usize = 40_000;

/// One request; what the server answers, where it comes to it.
fn send(
    server: &Server<'_>,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> io::Result<crate::client::Answer> {
    let mut wire = server.try_wire()?;
    let first = format!("{method} {path} HTTP/1.1\r\nHost: {}", server.address);
    let length = format!("Content-Length: {}", body.len());
    let lines = [&[&first[..], &length], headers, &["\r\n"]].concat();
    wire.try_send(lines.join("\r\n"))?;
    // It may be refused before all of it is written.
    let _ = wire.try_send(body);
    let answer = wire.try_answer(&method.parse::<Method>().unwrap());
    answer.map_err(|(error, _)| error)
}

/// Hands in one file, in one of the ways that there are.
fn hand_in(server: &Server<'_>, link: &str, way: usize) -> io::Result<()> {
    let sent = content(SIZE);
    match way % 3 {
        0 => send(server, "PUT", &format!("{link}/raw"), &[], &sent).map(drop),
        1 => {
            let form = Multipart::new().file("f", "form", &sent).finish();
            let media_type = format!("Content-Type: {}", Multipart::TYPE);
            send(server, "POST", link, &[&media_type], &form).map(drop)
        }
        _ => {
            let tus = "Tus-Resumable: 1.0.0";
            let length = format!("Upload-Length: {SIZE}");
            let created = send(server, "POST", link, &[tus, &length], b"")?;
            let Some(url) = created.headers.get("location") else {
                return Ok(());
            };
            let patch = [
                tus,
                "Upload-Offset: 0",
                "Content-Type: application/offset+octet-stream",
            ];
            send(server, "PATCH", url.to_str().unwrap(), &patch, &sent).map(drop)
        }
    }
}

/// The sizes of all uploads that came through a link, as their manifests say.
fn handed_in(bench: &Bench, server: &Server<'_>, link: &Value) -> Vec<u64> {
    let list = server
        .admin(Method::GET, "/uploads?limit=1000")
        .is(200)
        .json();
    let all = list["uploads"].as_array().unwrap().iter();
    let through = all.filter(|upload| upload["link"] == link["id"]);
    through
        .map(|upload| {
            bench.open_stored(&upload["id"]).manifest["size"]
                .as_u64()
                .unwrap()
        })
        .collect()
}

#[test]
fn a_link_takes_as_many_as_it_says_whenever_the_server_is_killed() {
    // In a bucket what expired goes an hour later: another server may still be at it.
    only_in_a_folder();
    let bench = Bench::new();
    let mut server = Server::sealing(&bench, &ARGS);
    for delay in [15, 40, 80, 160] {
        let made = server.link(&json!({ "max_uploads": TAKES, "max_bytes": TAKES * SIZE }));
        let link = text(&made["link"]);
        std::thread::scope(|clients| {
            for way in 0..9 {
                let (server, link) = (&server, &link);
                // Some find the server gone.
                clients.spawn(move || drop(hand_in(server, link, way)));
            }
            std::thread::sleep(Duration::from_millis(delay));
            server.signal(Signal::KILL);
        });
        server.ended();
        server = Server::sealing(&bench, &ARGS);

        let now = server.newest_link();
        let sizes = handed_in(&bench, &server, &made);
        assert_eq!(
            now["used"]["uploads"],
            sizes.len(),
            "killed after {delay} ms"
        );
        assert_eq!(now["used"]["bytes"], sizes.iter().sum::<u64>());
        let reserved = now["reserved"]["uploads"].as_u64().unwrap();
        assert!(sizes.len() as u64 + reserved <= TAKES as u64, "{now}");

        // Those whose answer was lost hold their place until they expire, and no longer.
        wait_until("nothing is reserved any more", || {
            server.newest_link()["reserved"] == json!({ "uploads": 0, "bytes": 0 })
        });
        for way in sizes.len()..TAKES {
            // In one request each, so that none expires on a busy machine.
            hand_in(&server, &link, way % 2).unwrap();
        }
        let refused = send(&server, "PUT", &format!("{link}/more"), &[], b"x").unwrap();
        refused.refused(403, "link-used-up");
        assert_eq!(handed_in(&bench, &server, &made), [SIZE as u64; TAKES]);
        assert_eq!(server.newest_link()["used"]["uploads"], TAKES);
    }
}
