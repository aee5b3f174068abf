//! HTTP/3 (RFC 9114) over QUIC (RFC 9000): the same requests on a UDP socket. Experimental, and off unless asked for.
//!
//! quinn is the transport, which `transport` passes to h3 with [`frames`] in between; a connection lives in `connection`, and a
//! request in `exchange`. Connections share their number with those over TCP. No early data, no datagrams, no server push.
//!
//! Clients may go on from another address (RFC 9000, section 9), as phones do that leave a Wi-Fi: the new one is validated
//! before more than a little is sent there. All requests count for the address that did the handshake: a packet may say that it
//! comes from anywhere, and quinn follows it before anybody has shown to be there.

mod connection;
mod exchange;
pub mod frames;
mod reason;
mod transport;

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::task::TaskTracker;

use super::connection::{CONNECTION_WINDOW, MAX_STREAMS, STREAM_WINDOW};
use super::{ConnectionLimits, Shared};
use crate::http::ClientNetwork;

/// Streams that carry no request: settings, two for header compression, and a few that mean nothing.
const MAX_OTHER_STREAMS: u32 = 8;
/// Handshakes at the same time, and as many of them as one address may have. Where there are more, the one that takes longest is
/// given up: so those who are quick get in while others say nothing.
const MAX_HANDSHAKES: usize = 256;
const MAX_HANDSHAKES_OF_ONE: usize = 32;
/// With so many under way, clients first have to show that they receive at their address: before, they are believed, and get
/// at most three times what they send.
const UNVALIDATED_HANDSHAKES: usize = 32;
/// What is kept of clients that are not looked at yet: how many, and bytes of each and of all of them.
const MAX_INCOMING: usize = 512;
const INCOMING_BYTES: u64 = 16 * 1024;
const ALL_INCOMING_BYTES: u64 = 4 << 20;
/// Bytes of answers that a connection may have under way.
const SEND_WINDOW: u64 = 2 << 20;
/// How long nothing at all has to come before a connection is taken for lost: a phone may be without a network for some seconds.
const MIN_SILENCE: Duration = Duration::from_secs(10);
/// How long the last packets may take.
const LAST_PACKETS: Duration = Duration::from_secs(1);

/// Opens an endpoint on a socket. Where that fails, there is no HTTP/3: clients use what else there is.
pub(super) fn open(socket: UdpSocket, shared: &Shared) -> Option<Endpoint> {
    let configs = Configs::new(shared);
    let config = configs.map(|configs| (*configs.quic).clone());
    let runtime = Arc::new(quinn::TokioRuntime);
    let endpoint = config.and_then(|config| {
        // Its key for stateless resets is random, and lives as long as the process.
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime);
        Ok(endpoint?)
    });
    endpoint
        .inspect_err(|error| tracing::warn!(error = &**error, "no HTTP/3"))
        .ok()
}

type SetupError = Box<dyn std::error::Error + Send + Sync>;

/// The configuration of new connections, as TLS has it.
struct Configs {
    tls: Arc<ServerConfig>,
    quic: Arc<quinn::ServerConfig>,
}

impl Configs {
    fn new(shared: &Shared) -> Result<Self, SetupError> {
        let tls = shared.tls.config();
        let crypto = QuicServerConfig::try_from(shared.tls.quic_config())?;
        let mut quic = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        quic.transport_config(Arc::new(transport_config(&shared.limits)))
            .migration(true)
            .max_incoming(MAX_INCOMING)
            .incoming_buffer_size(INCOMING_BYTES)
            .incoming_buffer_size_total(ALL_INCOMING_BYTES);
        let quic = Arc::new(quic);
        Ok(Self { tls, quic })
    }

    /// That of this moment, made anew where what clients' certificates are held to was replaced.
    fn current(&mut self, shared: &Shared) -> Arc<quinn::ServerConfig> {
        if !Arc::ptr_eq(&self.tls, &shared.tls.config()) {
            match Self::new(shared) {
                Ok(new) => *self = new,
                Err(error) => tracing::warn!(error = &*error, "the new configuration is unused"),
            }
        }
        Arc::clone(&self.quic)
    }
}

fn transport_config(limits: &ConnectionLimits) -> TransportConfig {
    let silence = limits.header_timeout.max(MIN_SILENCE);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(MAX_STREAMS.into())
        .max_concurrent_uni_streams(MAX_OTHER_STREAMS.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        // Who does not even acknowledge is gone. While a request is worked on, we ask.
        .max_idle_timeout(IdleTimeout::try_from(silence).ok())
        .keep_alive_interval(Some(silence / 3))
        .datagram_receive_buffer_size(None);
    config
}

/// Takes in connections until the server stops.
pub(super) async fn accept(
    endpoint: Endpoint,
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
    connections: TaskTracker,
) {
    let handshakes = shared
        .handshakes
        .within(MAX_HANDSHAKES, MAX_HANDSHAKES_OF_ONE);
    let Ok(mut configs) = Configs::new(&shared) else {
        return;
    };
    loop {
        let incoming = tokio::select! {
            () = shared.stop.cancelled() => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        if handshakes.under_way() >= UNVALIDATED_HANDSHAKES && incoming.may_retry() {
            // Nothing is kept of it.
            let _ = incoming.retry();
            continue;
        }
        // No queue: who is refused goes on over TCP.
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let (place, lost) = handshakes.enter();
        let address = incoming.remote_address().ip();
        place.belongs_to(ClientNetwork::of(address.to_canonical()));
        let config = configs.current(&shared);
        let shared = Arc::clone(&shared);
        let place = (place, lost);
        connections.spawn(connection::run(shared, incoming, config, permit, place));
    }
    tokio::spawn(refuse(endpoint));
}

/// Tells those who come while the server drains that it takes no more, until the endpoint is closed.
async fn refuse(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        incoming.refuse();
    }
}

/// Waits for the last packets: connections that were closed say so.
pub(super) async fn close(endpoint: &Endpoint) {
    endpoint.close(VarInt::from_u32(0x100), b"");
    let _ = timeout(LAST_PACKETS, endpoint.wait_idle()).await;
}
