//! A Sealslot server, as the commands that talk to one see it.
//!
//! | module | owns |
//! |---|---|
//! | `listing` | the uploads on a server, page by page |
//! | `patient_server` | asking again while a server cannot be reached |
//! | `remote_upload` | an upload on a server, read as if it lay here |
//! | `backoff` | when something is tried again, and when no more |
//! | `endpoint` | URLs: where uploads are created, and where one goes on |
//! | `http_client` | connections, TLS, one request and its answer |
//! | `body` | request bodies |
//! | `rate` | how fast they go out at most |
//! | `problem` | how a server explains what it did not do |

pub(in crate::cli) mod backoff;
pub(in crate::cli) mod body;
pub(in crate::cli) mod endpoint;
pub(in crate::cli) mod http_client;
pub(in crate::cli) mod listing;
pub(in crate::cli) mod patient_server;
pub(in crate::cli) mod problem;
pub(in crate::cli) mod rate;
pub(in crate::cli) mod remote_upload;

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use super::restored_name::printable;
use super::{Exit, Failure, token_file};
use crate::tls::client_config;
use body::Body;
use endpoint::{Endpoint, UrlError};
use http_client::{Answer, Download, HttpClient, HttpError};
use patient_server::PatienceError;
use problem::{retry_after, said};

/// The token itself. Not an argument: those are visible to everyone on the machine.
const TOKEN_VARIABLE: &str = "SEALSLOT_TOKEN";

/// What lets a command in, and whom it trusts.
#[derive(Args, Debug)]
pub(in crate::cli) struct AccessArgs {
    /// Trust the certificate authorities in FILE (PEM) instead of the system's
    #[arg(long, value_name = "FILE", env = "SEALSLOT_CACERT")]
    cacert: Option<PathBuf>,

    /// Show the first token in FILE, which nobody else may read. Without it, SEALSLOT_TOKEN holds the token
    #[arg(long, value_name = "FILE", env = "SEALSLOT_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

/// The server, and what lets this command in.
#[derive(Args, Debug)]
pub(in crate::cli) struct ServerArgs {
    #[command(flatten)]
    access: AccessArgs,

    /// The server, as https://HOST/ or https://HOST:PORT/
    #[arg(value_name = "URL")]
    url: String,
}

/// Why a server did not do it. Holds neither a token nor a link.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ServerError {
    /// There was no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It does not know who this is.
    #[error(
        "the server wants a token with the scope for this (401): give --token-file FILE, or set SEALSLOT_TOKEN"
    )]
    Unauthorized,
    /// Anything else but success.
    #[error("the server answered {status}{}", said.as_ref().map(|said| format!(": {said}")).unwrap_or_default())]
    Refused {
        /// What kind of refusal.
        status: StatusCode,
        /// How the server explains it.
        said: Option<String>,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// An answer that a Sealslot server would not give.
    #[error("the server's answer makes no sense: is it a Sealslot server, and of this version?")]
    Nonsense,
}

impl ServerError {
    /// Whether the same request may well succeed later.
    pub(in crate::cli) fn is_passing(&self) -> bool {
        match self {
            Self::Http(error) => error.is_passing(),
            Self::Refused { status, .. } => Exit::of_status(*status) == Exit::Later,
            Self::Unauthorized | Self::Nonsense => false,
        }
    }

    /// What kind of refusal it is, where it is one.
    pub(in crate::cli) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Unauthorized => Some(StatusCode::UNAUTHORIZED),
            Self::Http(_) | Self::Nonsense => None,
        }
    }
}

/// How to reach a server, whom it has to be, and what lets us in. Cheap to clone; each connection is a [`Server`] of its own.
#[derive(Clone)]
pub(in crate::cli) struct Access {
    endpoint: Endpoint,
    tls: Arc<ClientConfig>,
    authorization: Option<HeaderValue>,
}

impl Access {
    /// Reads what was given on the command line.
    pub(in crate::cli) fn of(args: &ServerArgs) -> Result<Self, Failure> {
        Self::to(&args.url, &args.access)
    }

    /// Reads what was given on the command line, for the server at `url`.
    pub(in crate::cli) fn to(url: &str, args: &AccessArgs) -> Result<Self, Failure> {
        let endpoint: Endpoint = url.parse()?;
        if !endpoint.is_of_server() {
            return Err(Failure::usage(
                "the URL leads to something on the server: give the server itself, as https://HOST/ or https://HOST:PORT/",
            ));
        }
        Self::at(endpoint, args)
    }

    /// The same for any place that takes uploads, a link too.
    pub(in crate::cli) fn at(endpoint: Endpoint, args: &AccessArgs) -> Result<Self, Failure> {
        Ok(Self {
            endpoint,
            tls: client_config(args.cacert.as_deref())?,
            authorization: authorization(args.token_file.as_deref())?,
        })
    }

    /// Where it is.
    pub(in crate::cli) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What requests show, where they show something.
    pub(in crate::cli) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// A connection that shows nothing by itself, which is made when it is first needed.
    pub(in crate::cli) fn client(&self) -> Result<HttpClient, HttpError> {
        HttpClient::new(self.endpoint.clone(), Arc::clone(&self.tls))
    }

    /// A connection of its own, which is made when it is first needed.
    pub(in crate::cli) fn connection(&self) -> Result<Server, HttpError> {
        let secret = if self.endpoint.is_of_server() {
            ""
        } else {
            self.endpoint.path()
        };
        Ok(Server {
            client: self.client()?,
            authorization: self.authorization.clone(),
            secret: Zeroizing::new(secret.to_owned()),
        })
    }
}

/// A connection to a server, a request at a time.
pub(in crate::cli) struct Server {
    client: HttpClient,
    authorization: Option<HeaderValue>,
    /// A path that no message may repeat.
    secret: Zeroizing<String>,
}

impl Server {
    /// Asks, with a JSON document or without, and gives the answer where it is a success.
    pub(in crate::cli) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        document: Option<&Value>,
    ) -> Result<Answer, ServerError> {
        let mut headers = HeaderMap::new();
        let body = document.map_or_else(Body::empty, |document| {
            let media_type = HeaderValue::from_static("application/json");
            headers.insert(CONTENT_TYPE, media_type);
            Body::whole(Bytes::from(document.to_string()))
        });
        self.send(method, path, headers, body).await
    }

    /// Sends a request of any kind, and gives the answer where it is a success.
    pub(in crate::cli) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Answer, ServerError> {
        let download = self.fetch(method, path, headers, body).await?;
        Ok(self.client.read(download).await?)
    }

    /// The same, for an answer that is not to be held in memory: [`keep`](Self::keep) the connection when it has come to its
    /// end.
    pub(in crate::cli) async fn fetch(
        &mut self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Download, ServerError> {
        let request = Request::builder().method(method).uri(path).body(body);
        let mut request = request.map_err(|_| ServerError::Nonsense)?;
        *request.headers_mut() = headers;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let download = self.client.fetch(request).await?;
        match download.status {
            status if status.is_success() => Ok(download),
            StatusCode::UNAUTHORIZED => Err(ServerError::Unauthorized),
            status => {
                let answer = self.client.read(download).await?;
                Err(ServerError::Refused {
                    status,
                    said: said(&answer, &self.secret).map(|said| printable(&said)),
                    retry_after: retry_after(&answer.headers, std::time::SystemTime::now()),
                })
            }
        }
    }

    /// Takes the connection back from an answer that has come to its end.
    pub(in crate::cli) fn keep(&mut self, download: Download) {
        self.client.keep(download);
    }
}

/// Reads an answer in JSON.
pub(in crate::cli) fn document<T: DeserializeOwned>(answer: &Answer) -> Result<T, ServerError> {
    serde_json::from_slice(&answer.body).map_err(|_| ServerError::Nonsense)
}

/// The token that was given in a file or in the environment, as requests show it.
pub(in crate::cli) fn authorization(
    token_file: Option<&Path>,
) -> Result<Option<HeaderValue>, Failure> {
    let token = match token_file {
        Some(path) => token_file::read(path)?.into_iter().next(),
        None => match env::var(TOKEN_VARIABLE) {
            Ok(token) => Some(Zeroizing::new(token)),
            Err(env::VarError::NotPresent) => None,
            Err(env::VarError::NotUnicode(_)) => {
                return Err(Failure::usage(format_args!(
                    "{TOKEN_VARIABLE} is not UTF-8"
                )));
            }
        },
    };
    let Some(token) = token else {
        return Ok(None);
    };
    let value = Zeroizing::new(format!("Bearer {}", token.trim()));
    let mut value = HeaderValue::from_str(&value)
        .map_err(|_| Failure::usage("the token holds characters that cannot be sent"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

impl From<UrlError> for Failure {
    fn from(error: UrlError) -> Self {
        Self::from_error(Exit::Usage, &error)
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self::from_error(exit_of_http(&error), &error)
    }
}

fn exit_of_http(error: &HttpError) -> Exit {
    if error.is_passing() {
        Exit::Later
    } else {
        Exit::Other
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        Self::from_error(exit_of_server(&error), &error)
    }
}

fn exit_of_server(error: &ServerError) -> Exit {
    match (error, error.status()) {
        (_, Some(status)) => Exit::of_status(status),
        (ServerError::Http(error), None) => exit_of_http(error),
        (_, None) => Exit::Other,
    }
}

impl From<PatienceError> for Failure {
    fn from(error: PatienceError) -> Self {
        match error {
            PatienceError::Server(error) => error.into(),
            error => Self::from_error(exit_of_patience(&error), &error),
        }
    }
}

/// What it means for a command that it got no answer.
pub(in crate::cli) fn exit_of_patience(error: &PatienceError) -> Exit {
    match error {
        PatienceError::Server(error) => exit_of_server(error),
        PatienceError::GaveUp { .. } | PatienceError::Stopped | PatienceError::Changed => {
            Exit::Later
        }
    }
}
