//! Why a stream or a connection broke, as it may be logged: h3 and quinn repeat in their errors what a client sent, which may be
//! anything from a token to a forged line of a log. Of a client only numbers are told.

use h3::error::{Code, ConnectionError, LocalError, StreamError};
use h3::quic::ConnectionErrorIncoming;

use super::frames::Violation;

/// What broke, without a word of the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    /// What we held against the client.
    #[error("{0}")]
    Found(Code),
    /// What the client said.
    #[error("the client says {0}")]
    Told(Code),
    /// The same of QUIC, which has numbers of its own.
    #[error("the client says {0:#x}, of QUIC")]
    ToldOfTransport(u64),
    /// What we held against the client's packets, or its handshake.
    #[error("{0:#x}, of QUIC")]
    FoundOfTransport(u64),
    #[error("nothing came any more")]
    Silence,
    #[error("the header fields are too long")]
    Fields,
    #[error("the client takes no more")]
    Leaving,
    #[error("it was closed here")]
    Closed,
    #[error("the transport failed")]
    Transport,
}

impl From<&StreamError> for Reason {
    fn from(error: &StreamError) -> Self {
        match error {
            StreamError::StreamError { code, .. } => Self::Found(*code),
            StreamError::RemoteTerminate { code } => Self::Told(*code),
            StreamError::ConnectionError(error) => error.into(),
            StreamError::HeaderTooBig { .. } => Self::Fields,
            StreamError::RemoteClosing => Self::Leaving,
            _ => Self::Transport,
        }
    }
}

impl From<StreamError> for Reason {
    fn from(error: StreamError) -> Self {
        Self::from(&error)
    }
}

impl From<&ConnectionError> for Reason {
    fn from(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::Local {
                error: LocalError::Application { code, .. },
            } => Self::Found(*code),
            ConnectionError::Local { .. } => Self::Closed,
            ConnectionError::Timeout => Self::Silence,
            ConnectionError::Remote(error) => incoming(error),
            _ => Self::Transport,
        }
    }
}

impl From<&quinn::ConnectionError> for Reason {
    fn from(error: &quinn::ConnectionError) -> Self {
        match error {
            quinn::ConnectionError::TransportError(error) => {
                Self::FoundOfTransport(error.code.into())
            }
            quinn::ConnectionError::ConnectionClosed(close) => {
                Self::ToldOfTransport(close.error_code.into())
            }
            quinn::ConnectionError::ApplicationClosed(close) => {
                Self::Told(close.error_code.into_inner().into())
            }
            quinn::ConnectionError::TimedOut => Self::Silence,
            quinn::ConnectionError::LocallyClosed => Self::Closed,
            _ => Self::Transport,
        }
    }
}

/// What the transport told h3.
fn incoming(error: &ConnectionErrorIncoming) -> Reason {
    match error {
        ConnectionErrorIncoming::ApplicationClose { error_code } => {
            Reason::Told((*error_code).into())
        }
        ConnectionErrorIncoming::Timeout => Reason::Silence,
        ConnectionErrorIncoming::InternalError(_) => Reason::Transport,
        ConnectionErrorIncoming::Undefined(error) => {
            if let Some(violation) = error.downcast_ref::<Violation>() {
                return Reason::Found(violation.code);
            }
            error
                .downcast_ref::<quinn::ConnectionError>()
                .map_or(Reason::Transport, Reason::from)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn no_word_of_a_client_is_told() {
        let close = quinn::ApplicationClose {
            error_code: quinn::VarInt::from_u32(0x10c),
            reason: "a forged line".into(),
        };
        let closed = quinn::ConnectionError::ApplicationClosed(close);
        let told = Reason::from(&closed).to_string();
        assert_eq!(told, "the client says H3_REQUEST_CANCELLED");
        let wrapped = ConnectionErrorIncoming::Undefined(Arc::new(closed));
        assert_eq!(incoming(&wrapped).to_string(), told);
        let internal = ConnectionErrorIncoming::InternalError("a forged line".to_owned());
        assert_eq!(incoming(&internal).to_string(), "the transport failed");
    }
}
