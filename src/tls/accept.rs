//! Handshakes: what a client says first decides what they are done with.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

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

impl ServerTls {
    /// Does a handshake. It has no deadline of its own.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        audience: Audience,
    ) -> Result<TlsStream<S>, HandshakeError> {
        let mut begun =
            LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        if audience == Audience::Everyone && AlpnChallenges::is_validation(&begun.client_hello()) {
            // Nothing comes over the connection (RFC 8737, section 3): it is over with the handshake.
            let mut stream = begun
                .into_stream(Arc::clone(&self.challenge_config))
                .await?;
            stream.shutdown().await?;
            return Err(HandshakeError::Validation);
        }
        self.settle().await;
        let config = match audience {
            Audience::Everyone => {
                if !self
                    .presenter
                    .answers_to(begun.client_hello().server_name())
                {
                    begun.io.write_all(&UNRECOGNIZED_NAME).await?;
                    begun.io.shutdown().await?;
                    return Err(HandshakeError::UnknownName);
                }
                self.config()
            }
            Audience::Operators => self.config_for_operators(),
        };
        Ok(begun.into_stream(config).await?)
    }
}

#[cfg(test)]
mod tests;
