//! One connection over QUIC: its handshake, its requests and its watchdog.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use h3::error::{Code, ConnectionError};
use h3::quic::SendStream as _;
use h3::server::RequestResolver;
use quinn::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::exchange::{self, Client, Outcome};
use super::reason::Reason;
use super::transport::{Connection, in_frame};
use crate::http::ClientNetwork;
use crate::server::Shared;
use crate::server::client_scopes::identify;
use crate::server::connection::MAX_HEADERS;
use crate::server::handshakes::{Lost, Place};
use crate::server::standing::{Open, Standing, WATCH_INTERVAL, watch};
use crate::server::traffic::Traffic;
use crate::tls::ClientCertificate;

/// How many streams of a connection may come to nothing. h3 keeps the number of each until its connection ends, and whoever gives up so
/// many requests before they are read is no client.
const MAX_VAIN_STREAMS: usize = 100;
/// After so many requests a client is asked to go on with a new connection: what a connection has gathered by then ends with it.
const MAX_REQUESTS: usize = 16_384;
/// How long requests may take to notice that their connection is gone.
const LAST_EXCHANGES: Duration = Duration::from_secs(10);

type Http = h3::server::Connection<Connection, Bytes>;

/// Why a connection does not come about.
#[derive(Debug, thiserror::Error)]
enum RefusedConnection {
    #[error("it took too long")]
    Late,
    #[error("too many others waited for their handshakes")]
    Crowded,
    #[error("no QUIC: {0}")]
    Quic(Reason),
    #[error("no HTTP/3: {0}")]
    Http(Reason),
    #[error("the certificate is no longer good: {0}")]
    Certificate(#[from] tokio_rustls::rustls::Error),
}

impl From<quinn::ConnectionError> for RefusedConnection {
    fn from(error: quinn::ConnectionError) -> Self {
        Self::Quic(Reason::from(&error))
    }
}

impl From<ConnectionError> for RefusedConnection {
    fn from(error: ConnectionError) -> Self {
        Self::Http(Reason::from(&error))
    }
}

/// A connection after its handshake.
struct Established {
    quic: quinn::Connection,
    /// Boxed: else each future that it is handed on to would have room for it, one inside the other.
    http: Box<Http>,
    certificate: Option<ClientCertificate>,
}

/// Runs a connection from its handshake to its end.
pub(super) async fn run(
    shared: Arc<Shared>,
    incoming: Incoming,
    config: Arc<quinn::ServerConfig>,
    _permit: OwnedSemaphorePermit,
    (place_here, lost_here): (Place, Lost),
) {
    let _open = Open::count(&shared.app);
    // Only who receives there can end the handshake.
    let address = incoming.remote_address().ip().to_canonical();
    let limit = shared.limits.handshake_timeout;
    let (place, lost) = shared.handshakes.enter();
    place.belongs_to(ClientNetwork::of(address));
    // On its own: the task would keep its room for as long as the connection lasts.
    let establishing = timeout(limit, Box::pin(establish(&shared, incoming, config)));
    let established = tokio::select! {
        biased;
        () = shared.stop.cancelled() => return,
        established = establishing => established.unwrap_or(Err(RefusedConnection::Late)),
        () = lost.happens() => Err(RefusedConnection::Crowded),
        () = lost_here.happens() => Err(RefusedConnection::Crowded),
    };
    drop((place, place_here));
    match established {
        Ok(established) => speak_http(&shared, established, address).await,
        Err(refused) => {
            let failed = &shared.app.metrics.handshakes_failed;
            failed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%address, reason = %refused, "no connection over QUIC");
        }
    }
}

async fn establish(
    shared: &Shared,
    incoming: Incoming,
    config: Arc<quinn::ServerConfig>,
) -> Result<Established, RefusedConnection> {
    shared.tls.settle().await;
    // Computes what a hello asks for that has come whole, as most do. What comes in later packets is computed by quinn when it does:
    // of such hellos, and of clients' certificates, only the number is bounded.
    let turn = shared.handshakes.turn().await;
    let connecting = incoming.accept_with(config);
    drop(turn);
    let quic = connecting?.await?;
    let chain = quic
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let certificate = match chain {
        Some(chain) => shared.tls.client_certificate_in(&chain)?,
        None => None,
    };
    let http = h3::server::builder()
        .max_field_section_size(MAX_HEADERS.into())
        // Clients are many: that they bear what means nothing needs no proof from us.
        .send_grease(false)
        .build(Connection::new(quic.clone()))
        .await?;
    Ok(Established {
        quic,
        http: Box::new(http),
        certificate,
    })
}

async fn speak_http(shared: &Arc<Shared>, established: Established, address: IpAddr) {
    let Established {
        quic,
        mut http,
        certificate,
    } = established;
    let client = Arc::new(Client {
        address,
        identity: certificate
            .as_ref()
            .map(|certificate| identify(certificate, &shared.peers.client_scopes)),
    });
    let mut exchanges = Exchanges::new(shared, client);
    let mut end = Code::H3_NO_ERROR;
    let mut watch = watch(shared);
    let mut standing = Standing::new(certificate);
    let mut stopping = false;
    loop {
        if stopping && exchanges.tasks.is_empty() {
            break;
        }
        tokio::select! {
            accepted = http.accept() => match accepted {
                // Who was told to go elsewhere can repeat it there without a doubt.
                Ok(Some(mut request)) if stopping => {
                    request.frame_stream.reset(Code::H3_REQUEST_REJECTED.value());
                }
                Ok(Some(request)) => {
                    exchanges.begin(request);
                    if exchanges.taken >= MAX_REQUESTS {
                        stopping = go_away(&mut http).await;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    if !error.is_h3_no_error() {
                        let reason = Reason::from(&error);
                        tracing::debug!(%reason, "a connection over QUIC broke");
                    }
                    break;
                }
            },
            ended = exchanges.tasks.join_next(), if !exchanges.tasks.is_empty() => {
                exchanges.vain += usize::from(matches!(ended, Some(Ok(Outcome::Nothing))));
                if exchanges.vain > MAX_VAIN_STREAMS {
                    end = Code::H3_EXCESSIVE_LOAD;
                    break;
                }
            }
            () = shared.cut.cancelled() => break,
            () = shared.stop.cancelled(), if !stopping => {
                stopping = go_away(&mut http).await;
            }
            _ = watch.tick() => {
                if standing.is_over(shared, &exchanges.traffic, None) {
                    break;
                }
                let idle = exchanges.traffic.idle_for();
                if idle.is_some_and(|time| time > shared.limits.header_timeout) {
                    stopping = go_away(&mut http).await;
                }
            }
        }
    }
    // What is read of requests ends with an error now, and in order.
    quic.close(in_frame(end.value()), b"");
    exchanges.end().await;
}

/// The request streams of a connection.
struct Exchanges {
    shared: Arc<Shared>,
    client: Arc<Client>,
    traffic: Arc<Traffic>,
    tasks: JoinSet<Outcome>,
    /// How many there were.
    taken: usize,
    /// How many of them came to nothing.
    vain: usize,
}

impl Exchanges {
    fn new(shared: &Arc<Shared>, client: Arc<Client>) -> Self {
        Self {
            shared: Arc::clone(shared),
            client,
            traffic: Traffic::new(),
            tasks: JoinSet::new(),
            taken: 0,
            vain: 0,
        }
    }

    fn begin(&mut self, request: RequestResolver<Connection, Bytes>) {
        let (shared, client) = (Arc::clone(&self.shared), Arc::clone(&self.client));
        let traffic = Arc::clone(&self.traffic);
        self.tasks
            .spawn(exchange::run(shared, client, traffic, request));
        self.taken += 1;
    }

    /// Waits until all have noticed that their connection is gone.
    async fn end(mut self) {
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(LAST_EXCHANGES, ended).await;
    }
}

/// Says that no further request is taken. The last one that was taken still is: `1` leaves room for the next.
async fn go_away(http: &mut Http) -> bool {
    // Where it cannot be said, the connection ends with the next look at it.
    let _ = timeout(WATCH_INTERVAL, http.shutdown(1)).await;
    true
}
