//! A TCP proxy that stops connections in the midst of a body.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Between a client and the server: counts what the client sends, and stops connections where it is told to.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    sent: Arc<AtomicU64>,
    released: Arc<AtomicBool>,
    /// `None`: there is nobody, and connections are closed.
    server: Arc<Mutex<Option<SocketAddr>>>,
}

/// What happens to a connection after so many bytes from the client.
#[derive(Clone, Copy)]
pub(crate) enum Stop {
    /// It is cut on both sides.
    Cut(u64),
    /// It stands still until the proxy is released, and is cut then.
    Hold(u64),
}

impl Proxy {
    /// The first connections stop as told, one after another; those that follow do not.
    pub(crate) fn before(server: SocketAddr, stops: &[Stop]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            sent: Arc::default(),
            released: Arc::default(),
            server: Arc::new(Mutex::new(Some(server))),
        };
        let (sent, released) = (Arc::clone(&proxy.sent), Arc::clone(&proxy.released));
        let server = Arc::clone(&proxy.server);
        let stops = Mutex::new(VecDeque::from(stops.to_vec()));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let address = *server.lock().unwrap();
                let Some(Ok(server)) = address.map(TcpStream::connect) else {
                    continue;
                };
                let stop = stops.lock().unwrap().pop_front();
                let (sent, released) = (Arc::clone(&sent), Arc::clone(&released));
                let (back, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || back_to_client(back, to));
                thread::spawn(move || {
                    forward(&client, &server, stop, &sent, &released);
                    for side in [client, server] {
                        let _ = side.shutdown(Shutdown::Both);
                    }
                });
            }
        });
        proxy
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Those that are held are cut now, and others go to this server.
    pub(crate) fn release_to(&self, server: SocketAddr) {
        *self.server.lock().unwrap() = Some(server);
        self.release();
    }

    /// The server is about to be gone: those that come are closed, until there is another one. Its port may soon be somebody else's.
    pub(crate) fn lose_server(&self) {
        *self.server.lock().unwrap() = None;
    }

    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
    }
}

fn back_to_client(mut server: TcpStream, mut client: TcpStream) {
    let _ = io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}

fn forward(
    mut client: &TcpStream,
    mut server: &TcpStream,
    stop: Option<Stop>,
    sent: &AtomicU64,
    released: &AtomicBool,
) {
    let mut left = match stop {
        Some(Stop::Cut(bytes) | Stop::Hold(bytes)) => bytes,
        None => u64::MAX,
    };
    let mut piece = [0; 16 * 1024];
    while left > 0 {
        let wanted = piece.len().min(usize::try_from(left).unwrap());
        let size = client.read(&mut piece[..wanted]).unwrap_or(0);
        if size == 0 || server.write_all(&piece[..size]).is_err() {
            return;
        }
        left -= size as u64;
        sent.fetch_add(size as u64, Ordering::Relaxed);
    }
    if matches!(stop, Some(Stop::Cut(_))) {
        // What the system still holds for the server when the next request takes over is lost.
        thread::sleep(Duration::from_millis(300));
    }
    while matches!(stop, Some(Stop::Hold(_))) && !released.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(5));
    }
}
