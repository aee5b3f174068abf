//! Certificates that clients show: whose, whether they are still good, and that this is seen whatever a session remembers.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use http::{Method, Request};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};

use crate::client::{Answer, Wire, head_of};
use crate::program::Bench;
use crate::server::{Server, wait_until};

/// Far enough away for a list to be good.
const LATER: i32 = 2999;

/// An authority for the certificates of clients.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this name with this number, and its key.
    pub(crate) fn issue(&self, name: &str, number: u64) -> Client {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(number));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &*self.0).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Client(certificate.der().clone(), key)
    }

    /// A list that revokes these numbers, made and good until these years.
    fn revoking(&self, numbers: &[u64], made: i32, until: i32) -> rcgen::CertificateRevocationList {
        let revoked_certs = numbers.iter().map(|number| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(made, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&*self.0).unwrap()
    }

    /// Puts a list in place, as a cron job should: in one step.
    pub(crate) fn publish(&self, bench: &Bench, name: &str, numbers: &[u64]) {
        let list = self.revoking(numbers, 2020, LATER).pem().unwrap();
        let next = bench.write("next", list);
        std::fs::rename(next, bench.path(name)).unwrap();
    }
}

pub(crate) struct Client(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>);

impl Client {
    pub(crate) fn config(
        &self,
        ca: &Path,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(ca).unwrap())
            .unwrap();
        let key = PrivateKeyDer::from(self.1.clone_key());
        let mut config = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![self.0.clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    fn get(&self, server: &Server<'_>) -> io::Result<Answer> {
        get(server.address, self.config(&server.ca(), &TLS13)).map(|(answer, _)| answer)
    }

    /// Whether this certificate is let in. The one thing that is said of another is the end of the connection.
    fn passes(&self, server: &Server<'_>) -> bool {
        self.get(server).is_ok()
    }
}

/// A request on a connection of its own. In TLS 1.3 a client learns only after its handshake that it is refused.
fn get(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<(Answer, HandshakeKind)> {
    let mut wire = Wire::connect(address, config)?;
    let kind = wire.handshake_kind();
    wire.try_send(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n"))?;
    let answer = wire.try_answer(&Method::GET).map_err(|(error, _)| error)?;
    Ok((answer.is(200), kind))
}

fn serve<'a>(bench: &'a Bench, authority: &Authority, args: &[&str]) -> Server<'a> {
    serve_with(bench, authority, &[&["--allow-anonymous"], args].concat())
}

fn serve_with<'a>(bench: &'a Bench, authority: &Authority, args: &[&str]) -> Server<'a> {
    bench.write("clients.pem", authority.pem());
    let ask = ["--client-ca", "clients.pem", "--log", "debug"];
    Server::sealing(bench, &[&ask[..], args].concat())
}

/// Whom the server found in the last certificate.
#[track_caller]
fn named(server: &Server<'_>) -> Option<String> {
    let log = server.log();
    let line = log.lines().rfind(|line| line.contains("answered")).unwrap();
    let (_, name) = line.split_once(" certificate=\"")?;
    Some(name.split('"').next().unwrap().to_owned())
}

#[test]
fn a_certificate_names_its_owner() {
    let bench = Bench::new();
    let authority = Authority::new("authority");
    let (scanner, other) = (
        authority.issue("scanner.example.org", 1),
        authority.issue("other.example.org", 2),
    );
    let server = serve(
        &bench,
        &authority,
        &[
            "--client-scope",
            "scanner.example.org=upload",
            "--client-scope",
            "*=read",
        ],
    );
    for version in [&TLS12, &TLS13] {
        get(server.address, scanner.config(&server.ca(), version)).unwrap();
        assert_eq!(named(&server).as_deref(), Some("scanner.example.org"));
        get(server.address, other.config(&server.ca(), version)).unwrap();
        assert_eq!(named(&server).as_deref(), Some("other.example.org"));
    }
    // Whoever has none comes in by other means.
    server.get("/healthz").is(200);
    assert_eq!(named(&server), None);
}

#[test]
fn a_certificate_lets_do_what_its_names_were_given() {
    let bench = Bench::new();
    let authority = Authority::new("authority");
    let names = ["uploader", "reader", "chief", "nobody"];
    let clients: Vec<_> = (1..)
        .zip(names)
        .map(|(number, name)| (name, authority.issue(&format!("{name}.example"), number)))
        .collect();
    let scopes = ["uploader=upload", "reader=read", "chief=admin"]
        .map(|scope| format!("--client-scope={}", scope.replace('=', ".example=")));
    let scopes = [
        &scopes[0][..],
        &scopes[1],
        &scopes[2],
        "--allow-anonymous=false",
    ];
    let server = serve_with(&bench, &authority, &scopes);
    let send = |client: &Client, request: http::request::Builder, body: &str| {
        let request = request.body(body.as_bytes().to_vec()).unwrap();
        let config = client.config(&server.ca(), &TLS13);
        let mut wire = Wire::connect(server.address, config).unwrap();
        wire.send(head_of(&request, server.address));
        wire.send(request.body());
        wire.try_answer(request.method()).unwrap()
    };
    let chief = &clients[2].1;
    for (name, client) in &clients {
        let stored = send(chief, Request::put("/uploads/x"), "x").receipt();
        let stored = format!("/uploads/{}", stored["id"].as_str().unwrap());
        let may = [
            (send(client, Request::put("/uploads/x"), "x"), 201),
            (send(client, Request::get("/uploads"), ""), 200),
            (send(client, Request::delete(stored), ""), 204),
        ]
        .map(|(answer, allowed)| {
            if answer.status != allowed {
                answer.refused(403, "forbidden");
            }
            answer.status == allowed
        });
        let expected = match *name {
            "uploader" => [true, false, false],
            "reader" => [false, true, false],
            "chief" => [true; 3],
            _ => [false; 3],
        };
        assert_eq!(may, expected, "{name}");
    }
    let uploader = &clients[0].1;
    // What a browser adds by itself, another site can make it use.
    let elsewhere = || Request::put("/uploads/x").header("sec-fetch-site", "cross-site");
    send(uploader, elsewhere(), "x").refused(403, "cross-site");
    // Whoever shows a token is who has that token.
    let guessing =
        Request::put("/uploads/x").header("authorization", "Bearer of-bad-news-and-nothing-else");
    send(uploader, guessing, "x").refused(401, "unauthorized");
    server.put("/uploads/x", "x").refused(401, "unauthorized");
}

#[test]
fn one_that_nobody_vouches_for_does_not_pass() {
    let bench = Bench::new();
    let authority = Authority::new("authority");
    // The same names, another key.
    let impostor = Authority::new("authority");
    for which in ["optional", "required"] {
        let server = serve(&bench, &authority, &["--client-certificates", which]);
        assert!(authority.issue("scanner.example.org", 1).passes(&server));
        assert!(!impostor.issue("scanner.example.org", 1).passes(&server));
        let anonymous = server.try_wire().and_then(|mut wire| {
            wire.try_send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            wire.try_head()
        });
        assert_eq!(anonymous.is_ok(), which == "optional");
    }
}

#[test]
fn operations_need_no_certificate() {
    let bench = Bench::new();
    let authority = Authority::new("authority");
    let args = [
        "--client-certificates",
        "required",
        "--metrics-listen",
        "127.0.0.1:0",
    ];
    let mut server = serve(&bench, &authority, &args);
    server.address = server.operations();
    server.get("/metrics").is(200);
}

#[test]
fn what_is_revoked_does_not_pass() {
    let bench = Bench::new();
    let authority = Authority::new("authority");
    let (good, revoked) = (
        authority.issue("good.example.org", 1),
        authority.issue("bad.example.org", 2),
    );
    // In both forms, and the newest list counts, whichever stands first.
    bench.write(
        "old.pem",
        authority.revoking(&[], 2019, LATER).pem().unwrap(),
    );
    bench.write("new.der", authority.revoking(&[2], 2020, LATER).der());
    for lists in [["old.pem", "new.der"], ["new.der", "old.pem"]] {
        let args = lists.map(|list| ["--client-crl", list]).concat();
        let server = serve(&bench, &authority, &args);
        assert!(good.passes(&server));
        assert!(!revoked.passes(&server));
        server.get("/healthz").is(200);
    }
}

#[test]
fn without_a_list_that_is_good_no_certificate_passes() {
    let bench = Bench::new();
    let authority = Authority::new("authority");
    let other = Authority::new("another authority");
    let good = authority.issue("good.example.org", 1);
    let args = ["--client-crl", "list.pem"];
    bench.write(
        "list.pem",
        authority.revoking(&[], 2020, 2021).pem().unwrap(),
    );
    {
        let server = serve(&bench, &authority, &args);
        assert!(!good.passes(&server), "past its time");
        server.get("/healthz").is(200);
        wait_until("it is told", || server.log().contains("past its time"));
        // A new one is taken up.
        authority.publish(&bench, "list.pem", &[]);
        wait_until("the new list counts", || good.passes(&server));
    }
    bench.write("list.pem", other.revoking(&[], 2020, LATER).pem().unwrap());
    let server = serve(&bench, &authority, &args);
    assert!(!good.passes(&server), "of another authority");
}

#[test]
fn a_revocation_takes_effect_while_the_server_runs() {
    let bench = Bench::new();
    let authority = Authority::new("authority");
    let (good, thief) = (
        authority.issue("good.example.org", 1),
        authority.issue("thief.example.org", 2),
    );
    authority.publish(&bench, "list.pem", &[]);
    let args = ["--client-crl", "list.pem", "--header-timeout", "4s"];
    let server = serve(&bench, &authority, &args);
    let under_way = |client: &Client| {
        let mut wire = Wire::connect(server.address, client.config(&server.ca(), &TLS13)).unwrap();
        let head = format!(
            "PUT /uploads/x HTTP/1.1\r\nHost: {}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
            server.address
        );
        wire.send(head);
        assert_eq!(wire.head().status, 100);
        wire
    };
    let (mut goods, mut thiefs) = (under_way(&good), under_way(&thief));

    authority.publish(&bench, "list.pem", &[2]);
    wait_until("the new list counts", || !thief.passes(&server));
    assert!(good.passes(&server));
    // What the thief has under way ends too.
    assert!(thiefs.is_ended());
    goods.send("done");
    goods.answer().is(201);

    // One that cannot be read changes nothing.
    bench.write(
        "list.pem",
        "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
    );
    wait_until("it is told", || {
        server.log().contains("still going by those before")
    });
    assert!(good.passes(&server));
    assert!(!thief.passes(&server));
    // And the next one that can does.
    authority.publish(&bench, "list.pem", &[1]);
    wait_until("the new list counts", || thief.passes(&server));
    assert!(!good.passes(&server));
}

#[test]
fn a_session_is_not_resumed_past_a_revocation() {
    let bench = Bench::new();
    let authority = Authority::new("authority");
    let thief = authority.issue("thief.example.org", 2);
    authority.publish(&bench, "list.pem", &[]);
    let server = serve(&bench, &authority, &["--client-crl", "list.pem"]);
    let sessions = [&TLS12, &TLS13].map(|version| thief.config(&server.ca(), version));
    for session in &sessions {
        get(server.address, Arc::clone(session)).unwrap();
        let (_, kind) = get(server.address, Arc::clone(session)).unwrap();
        assert_eq!(kind, HandshakeKind::Resumed);
        assert_eq!(named(&server).as_deref(), Some("thief.example.org"));
    }
    authority.publish(&bench, "list.pem", &[2]);
    wait_until("the new list counts", || !thief.passes(&server));
    for session in sessions {
        for _ in 0..2 {
            assert!(get(server.address, Arc::clone(&session)).is_err());
        }
    }
}

#[test]
fn another_authority_takes_over_while_the_server_runs() {
    let bench = Bench::new();
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let (old, new) = (
        before.issue("old.example.org", 1),
        after.issue("new.example.org", 1),
    );
    let server = serve(&bench, &before, &[]);
    assert!(old.passes(&server) && !new.passes(&server));
    let next = bench.write("next", before.pem() + &after.pem());
    std::fs::rename(next, bench.path("clients.pem")).unwrap();
    wait_until("both count", || new.passes(&server));
    assert!(old.passes(&server));
    bench.write("clients.pem", after.pem());
    wait_until("one counts", || !old.passes(&server));
    assert!(new.passes(&server));
}
