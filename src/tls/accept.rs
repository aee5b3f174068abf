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

/// The alert `unrecognized_name` (RFC 6066, section 3), fatal, in a record of its own: as an answer to the first message of a client
/// it is not encrypted in any version. rustls itself can only say `access_denied` for a name that it has no certificate for.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Who connects to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Anybody. They are asked for certificates where that was set up, and may ask for the names of this server only.
    Everyone,
    /// The operator's own machines, which need no certificate and may call the server what they like.
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
    /// The client asks for another server.
    #[error("the client asks for a name that this server does not have")]
    UnknownName,
}

/// A handshake of which the client's first message has come, whole.
pub struct Greeting<S>(StartHandshake<S>);

/// A handshake that the server has done its part of.
pub struct Handshake<S>(Answer<S>);

enum Answer<S> {
    Accept(Accept<S>),
    /// To a certificate authority, which is over with its end.
    Validation(Accept<S>),
    UnknownName(S),
}

impl ServerTls {
    /// Waits for the client's first message. It has no deadline of its own.
    pub async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
        stream: S,
    ) -> Result<Greeting<S>, HandshakeError> {
        let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        Ok(Greeting(acceptor.await?))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Greeting<S> {
    /// Computes the server's answer: the key exchange and the signature, which is nearly all that a handshake costs the
    /// server, some hundred microseconds. (TLS 1.2 has half of the key exchange in [`Handshake::complete`].)
    pub fn answer(self, tls: &ServerTls, audience: Audience) -> Handshake<S> {
        let Self(begun) = self;
        if audience == Audience::Operators {
            return Handshake(Answer::Accept(
                begun.into_stream(tls.config_for_operators()),
            ));
        }
        let is_validation = AlpnChallenges::is_validation(&begun.client_hello());
        let is_own_name = tls.presenter.answers_to(begun.client_hello().server_name());
        Handshake(if is_validation {
            Answer::Validation(begun.into_stream(Arc::clone(&tls.challenge_config)))
        } else if is_own_name {
            Answer::Accept(begun.into_stream(tls.config()))
        } else {
            Answer::UnknownName(begun.io)
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Handshake<S> {
    /// Sends the answer, and waits for the client's last message. It has no deadline of its own.
    pub async fn complete(self) -> Result<TlsStream<S>, HandshakeError> {
        match self.0 {
            Answer::Accept(accept) => Ok(accept.await?),
            Answer::Validation(accept) => {
                let mut stream = accept.await?;
                // Nothing comes over the connection (RFC 8737, section 3).
                stream.shutdown().await?;
                Err(HandshakeError::Validation)
            }
            Answer::UnknownName(mut stream) => {
                stream.write_all(&UNRECOGNIZED_NAME).await?;
                stream.shutdown().await?;
                Err(HandshakeError::UnknownName)
            }
        }
    }
}

#[cfg(test)]
mod tests;
