//! A server over real TLS that passes requests on to the real one, and says something else than that did.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::client::{Protocol, trusting};
use crate::program::Bench;

/// What stands in front of a body: the line of the status and the headers, each with its line end.
pub(crate) struct Told {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Bytes of the body after which the connection breaks.
    pub(crate) cut: Option<usize>,
}

/// Listens where this says, and changes each answer by its path.
pub(crate) fn lie(
    bench: &Bench,
    server: SocketAddr,
    change: impl Fn(&str, &mut Told) + Send + Sync + 'static,
) -> SocketAddr {
    let chain = CertificateDer::pem_file_iter(bench.path("certs/server.pem")).unwrap();
    let key = fs::read(bench.path("certs/server.key")).unwrap();
    let own = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            chain.map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_slice(&key).unwrap(),
        );
    let own = Arc::new(own.unwrap());
    let to = trusting(&bench.path("certs/ca.pem"), &TLS13, Protocol::Http1);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let change = Arc::new(change);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (own, to, change) = (Arc::clone(&own), to.clone(), Arc::clone(&change));
            thread::spawn(move || {
                let tls = ServerConnection::new(own).unwrap();
                let mut client = BufReader::new(StreamOwned::new(tls, client));
                while serve(&mut client, server, &to, &*change).is_some() {}
            });
        }
    });
    address
}

/// One request and its answer. `None`: the connection has come to its end.
fn serve(
    client: &mut BufReader<StreamOwned<ServerConnection, TcpStream>>,
    server: SocketAddr,
    to: &Arc<ClientConfig>,
    change: &dyn Fn(&str, &mut Told),
) -> Option<()> {
    let request = head(client)?;
    let path = request.split(' ').nth(1)?.to_owned();
    let mut told = ask(server, to, &request)?;
    change(&path, &mut told);
    let lines = told.head.trim_end();
    let size = told.body.len();
    let chunked = lines.contains("transfer-encoding: chunked");
    let tls = client.get_mut();
    if chunked {
        write!(tls, "{lines}\r\n\r\n{size:x}\r\n").ok()?;
        tls.write_all(&told.body).ok()?;
        write!(tls, "\r\n{}", if size == 0 { "\r\n" } else { "0\r\n\r\n" }).ok()?;
    } else {
        write!(tls, "{lines}\r\ncontent-length: {size}\r\n\r\n").ok()?;
        let sent = told.cut.map_or(size, |cut| cut.min(size));
        tls.write_all(&told.body[..sent]).ok()?;
    }
    tls.flush().ok()?;
    told.cut.is_none().then_some(())
}

/// Asks the real server, without the size of the body among the headers.
fn ask(server: SocketAddr, to: &Arc<ClientConfig>, request: &str) -> Option<Told> {
    let name = ServerName::IpAddress(server.ip().into());
    let tls = ClientConnection::new(Arc::clone(to), name).ok()?;
    let mut stream = StreamOwned::new(tls, TcpStream::connect(server).ok()?);
    stream.write_all(request.as_bytes()).ok()?;
    let mut stream = BufReader::new(stream);
    let head = head(&mut stream)?;
    let size = |line: &str| line.strip_prefix("content-length: ")?.parse().ok();
    let size: usize = head.lines().find_map(size).unwrap_or(0);
    let mut body = vec![0; size];
    stream.read_exact(&mut body).ok()?;
    let others = head.lines().filter(|line| {
        !line.is_empty() && !line.starts_with("content-length:") && !line.starts_with("connection:")
    });
    Some(Told {
        head: others.flat_map(|line| [line, "\r\n"]).collect(),
        body,
        cut: None,
    })
}

fn head(stream: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}
