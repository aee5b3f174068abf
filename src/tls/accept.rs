//! Handshakes: what a client says first decides what they are done with.
//!
//! They come in three steps, so that who serves can bound each by what it costs: [`ServerTls::begin`] waits for a
//! client and computes nothing, [`Greeting::answer`] computes and waits for nobody, [`Handshake::complete`] waits again.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, LazyConfigAcceptor, StartHandshake};

use super::ServerTls;
use super::challenge::AlpnChallenges;

/// Who connects to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Anybody. They are asked for certificates where that was set up.
    Everyone,
    /// The operator's own machines, which need no certificate.
    Operators,
}

/// Why there is no connection for requests.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The handshake failed.
    #[error(transparent)]
    Failed(#[from] io::Error),
    /// It was a certificate authority that validates a name, and has its answer.
    #[error("a certificate authority has validated a name")]
    Validation,
}

/// A handshake of which the client's first message has come, whole.
pub struct Greeting<S> {
    start: StartHandshake<S>,
    audience: Audience,
    /// Whether a certificate authority validates a name: then it is over with the handshake.
    validation: bool,
}

/// A handshake that the server has done its part of.
pub struct Handshake<S> {
    accept: Accept<S>,
    validation: bool,
}

impl ServerTls {
    /// Waits for the client's first message. It has no deadline of its own.
    pub async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        audience: Audience,
    ) -> Result<Greeting<S>, HandshakeError> {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        let validation =
            audience == Audience::Everyone && AlpnChallenges::is_validation(&start.client_hello());
        Ok(Greeting {
            start,
            audience,
            validation,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Greeting<S> {
    /// Computes the server's answer: the key exchange and the signature, which is nearly all that a handshake costs the
    /// server, some hundred microseconds. (TLS 1.2 has half of the key exchange in [`Handshake::complete`].)
    pub fn answer(self, tls: &ServerTls) -> Handshake<S> {
        let config = match self.audience {
            Audience::Everyone if self.validation => Arc::clone(&tls.challenge_config),
            Audience::Everyone => tls.config(),
            Audience::Operators => tls.config_without_clients(),
        };
        Handshake {
            accept: self.start.into_stream(config),
            validation: self.validation,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Handshake<S> {
    /// Sends the answer, and waits for the client's last message. It has no deadline of its own.
    pub async fn complete(self) -> Result<TlsStream<S>, HandshakeError> {
        let mut stream = self.accept.await?;
        if self.validation {
            // Nothing comes over the connection (RFC 8737, section 3).
            stream.shutdown().await?;
            return Err(HandshakeError::Validation);
        }
        Ok(stream)
    }
}
