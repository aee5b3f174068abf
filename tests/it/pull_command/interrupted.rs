//! `pull` through connections that break, and killed at any point.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::{Running, put};
use crate::program::{Bench, Ran};
use crate::server::{Server, content, wait_until};

/// Lets so many bytes of each connection through to the client, and counts them.
struct Narrow {
    address: SocketAddr,
    passed: Arc<AtomicU64>,
}

impl Narrow {
    /// What follows is cut off, or with `holds` never comes.
    fn before(server: SocketAddr, limit: u64, holds: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let passed = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&passed);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                let (mut up, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = std::io::copy(&mut up, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
                let counter = Arc::clone(&counter);
                thread::spawn(move || pass(server, client, limit, holds, &counter));
            }
        });
        Self { address, passed }
    }

    fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

fn pass(mut server: TcpStream, mut client: TcpStream, limit: u64, holds: bool, passed: &AtomicU64) {
    let mut left = limit;
    let mut piece = [0; 16 * 1024];
    while left > 0 {
        let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let size = server.read(&mut piece[..wanted]).unwrap_or(0);
        if size == 0 || client.write_all(&piece[..size]).is_err() {
            let _ = client.shutdown(Shutdown::Both);
            return;
        }
        left -= size as u64;
        passed.fetch_add(size as u64, Ordering::Relaxed);
    }
    while holds && client.peek(&mut [0]).is_ok_and(|size| size > 0) {
        thread::sleep(Duration::from_millis(5));
    }
    for side in [client, server] {
        let _ = side.shutdown(Shutdown::Both);
    }
}

#[test]
fn connections_that_break_are_gone_on_with() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let large = content(6_000_000);
    put(&server, "large.bin", &large);
    put(&server, "small.txt", b"small");
    let narrow = Narrow::before(server.address, 900_000, false);
    Ran::of(bench.pull_from(narrow.address, &[])).ok();
    let pulled = bench.pulled();
    assert!(pulled["large.bin"] == large && pulled["small.txt"] == b"small");
    // Not from the beginning each time.
    assert!(narrow.passed() < 12_000_000, "{}", narrow.passed());
}

#[test]
fn a_pull_that_was_killed_is_gone_on_with_where_it_stopped() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let large = content(8_000_000);
    let id = put(&server, "large.bin", &large);
    // The server is known by its address, so both runs go through a proxy, and the second may have it all.
    let narrow = Narrow::before(server.address, 5_000_000, true);
    let running = Running::start(bench.pull_from(narrow.address, &[]));
    let folder = format!(
        "in/.sealslot/{}.opened",
        narrow.address.to_string().replace(':', "_")
    );
    let partial = bench.path(format!("{folder}/partial/{id}"));
    let written = || partial.metadata().map_or(0, |metadata| metadata.len());
    wait_until("most of it has come", || written() > 4_000_000);
    running.signal(Signal::KILL);
    running.ended();
    assert!(bench.pulled().is_empty());
    let (before, kept) = (narrow.passed(), written());
    Ran::of(bench.pull_from(narrow.address, &[])).ok();
    assert!(bench.pulled()["large.bin"] == large);
    let again = narrow.passed() - before;
    assert!(
        again < 8_000_000 - kept + 1_500_000,
        "{again} with {kept} there"
    );
}

#[test]
fn what_was_changed_meanwhile_is_begun_anew() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let large = content(1_000_000);
    let id = put(&server, "large.bin", &large);
    bench.pull(&server, &["--until", "1h"]).ok();
    let mut other = large.clone();
    other[70_000] ^= 1;
    for size in [100_000, 999_999, 1_000_000, 1_000_001] {
        other.resize(size, 0);
        std::fs::write(bench.partial(&server).join(&id), &other).unwrap();
        assert_eq!(
            bench.pull(&server, &["--again", &id]).ok().len(),
            "in/large.bin\n".len()
        );
        assert!(bench.pulled()["large.bin"] == large, "{size}");
        std::fs::remove_file(bench.path("in/large.bin")).unwrap();
    }
}

#[test]
fn a_signal_ends_it_in_order() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let id = put(&server, "large.bin", &content(8_000_000));
    let narrow = Narrow::before(server.address, 5_000_000, true);
    let running = Running::start(bench.pull_from(narrow.address, &[]));
    let folder = format!(
        "in/.sealslot/{}.opened",
        narrow.address.to_string().replace(':', "_")
    );
    let partial = bench.path(format!("{folder}/partial/{id}"));
    wait_until("some of it has come", || {
        partial
            .metadata()
            .is_ok_and(|metadata| metadata.len() > 4_000_000)
    });
    running.signal(Signal::TERM);
    let (code, said) = running.ended();
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("goes on where this one stopped"), "{said}");
    assert!(partial.exists() && bench.pulled().is_empty());
}

#[test]
fn killed_at_any_point_it_has_everything_once() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let mut expected = Vec::new();
    for number in 0..60 {
        let body = content(number * 997 + usize::from(number % 7 == 0) * 200_000);
        let body = [format!("{number}:").into_bytes(), body].concat();
        put(&server, &format!("d/same-{}.bin", number % 5), &body);
        expected.push(body);
    }
    expected.sort();
    let mut killed = 0;
    loop {
        let mut command = bench.pull_from(server.address, &["--parallel", "3"]);
        // The kinds of moments are more than could be named: these are spread over all of a run.
        let moment = Duration::from_micros(15_000 + (killed * 7_919) % 60_000);
        command.env("RUST_BACKTRACE", "0");
        let running = Running::start(command);
        thread::sleep(moment);
        running.signal(Signal::KILL);
        killed += 1;
        if running.ended().0 == Some(0) || killed == 60 {
            break;
        }
    }
    bench.pull(&server, &[]).ok();
    let mut contents: Vec<_> = bench.pulled().into_values().collect();
    contents.sort();
    assert_eq!(contents.len(), expected.len());
    assert!(contents == expected);
    assert_eq!(bench.names("in/.sealslot/receipts").len(), expected.len());
    assert!(bench.pull(&server, &[]).ok().is_empty());
    // No second name and no half of anything is left.
    assert_eq!(bench.partial(&server).read_dir().unwrap().count(), 0);
}
