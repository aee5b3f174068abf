//! Handshakes: what a client says first decides what they are done with.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

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

impl ServerTls {
    /// Does a handshake. It has no deadline of its own.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        audience: Audience,
    ) -> Result<TlsStream<S>, HandshakeError> {
        let begun = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        if audience == Audience::Everyone && AlpnChallenges::is_validation(&begun.client_hello()) {
            // Nothing comes over the connection (RFC 8737, section 3): it is over with the handshake.
            let mut stream = begun
                .into_stream(Arc::clone(&self.challenge_config))
                .await?;
            stream.shutdown().await?;
            return Err(HandshakeError::Validation);
        }
        let config = match audience {
            Audience::Everyone => self.config(),
            Audience::Operators => self.config_without_clients(),
        };
        Ok(begun.into_stream(config).await?)
    }
}
