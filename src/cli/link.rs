//! `sealslot link`: upload links, made, listed and revoked on a server by whoever has its admin token.

mod qr;
mod table;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::restored_name::printable;
use super::results::{note, print, print_json};
use super::staged::{self, Staged};
use super::upload::answers::said;
use super::upload::authorization;
use super::upload::body::Body;
use super::upload::endpoint::Endpoint;
use super::upload::http_client::{Answer, HttpClient, HttpError};
use super::{Exit, Failure};
use crate::config::{Amount, Term};
use crate::grant::{GrantId, LinkSecret, MediaRange};
use crate::http::{PageText, PageTitle, TextField};
use crate::keys::{NamedRecipient, read_recipients};
use crate::tls::client_config;
use crate::upload::to_rfc3339;

/// Make, list and revoke upload links: who has one can hand in files, and nothing else
#[derive(Subcommand, Debug)]
pub(super) enum LinkCommand {
    Create(Box<CreateArgs>),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// The server, and what lets this command in.
#[derive(Args, Debug)]
struct ServerArgs {
    /// Trust the certificate authorities in FILE (PEM) instead of the system's
    #[arg(long, value_name = "FILE", env = "SEALSLOT_CACERT")]
    cacert: Option<PathBuf>,

    /// Show the first token in FILE, which nobody else may read: one that may do everything. Without it, SEALSLOT_TOKEN holds
    /// the token
    #[arg(long, value_name = "FILE", env = "SEALSLOT_TOKEN_FILE")]
    token_file: Option<PathBuf>,

    /// The server, as https://HOST/ or https://HOST:PORT/
    #[arg(value_name = "URL")]
    url: String,
}

/// Make an upload link, and print it
///
/// The link is shown this once: the server keeps only a hash of it. Whoever has it can hand in files through a page of its
/// own, with curl or with `sealslot upload`, and sees nothing of what was handed in.
#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// When it closes: after a time like 7d, or never
    #[arg(
        long,
        value_name = "TIME",
        default_value = "7d",
        allow_hyphen_values = true
    )]
    expires: Term,

    /// How many files it takes, in all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_uploads: Option<u64>,

    /// How many bytes it takes, in all
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    max_bytes: Option<Amount>,

    /// How large one file may be
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    max_file: Option<Amount>,

    /// A media type that it takes, like application/pdf or image/*; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<MediaRange>,

    /// An extension of names that it takes, like pdf; may be repeated. Files of one of the types or extensions are taken
    #[arg(long = "extension", value_name = "EXTENSION")]
    extensions: Vec<String>,

    /// What its page calls whoever receives
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,

    /// What its page says below the heading
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,

    /// A text field of its page; may be repeated
    #[arg(long = "field", value_name = "NAME[=LABEL]")]
    fields: Vec<String>,

    /// Seal to this key alone, and not to the server's: a public key, or a file of them; may be repeated
    // Not from the environment: there it is meant for `seal` and `serve`.
    #[arg(short, long = "recipient", value_name = "RECIPIENT")]
    recipients: Vec<String>,

    /// Delete what is handed in so long after it arrived, or `never`. The server's --keep holds where it is shorter
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    keep: Option<Term>,

    /// What the list calls it. Those who hand in do not see it
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,

    /// Draw the link as a QR code on the terminal (on stderr)
    #[arg(long)]
    qr: bool,

    /// Draw the link as a QR code into FILE, which must not exist (mode 0600)
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Print what the server says of it, with the link as "url", as a JSON object
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

/// List upload links, the newest first, with what has been handed in through each
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Print a JSON object for each, on a line
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

/// Revoke upload links: from now on they take nothing, not even the rest of what is on its way
#[derive(Args, Debug)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Which, as the list shows them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<GrantId>,
}

/// Why a server did not do it. Holds neither the token nor a link.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    /// There was no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It does not know who this is.
    #[error(
        "the server wants a token that may do everything (401): give --token-file FILE, or set SEALSLOT_TOKEN"
    )]
    Unauthorized,
    /// Anything else but success.
    #[error("the server answered {status}{}", said.as_ref().map(|said| format!(": {said}")).unwrap_or_default())]
    Refused {
        /// What kind of refusal.
        status: StatusCode,
        /// How the server explains it.
        said: Option<String>,
    },
    /// An answer that a Sealslot server would not give.
    #[error("the server's answer makes no sense: is it a Sealslot server, and of this version?")]
    Nonsense,
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Self::from_error(Exit::Other, &error)
    }
}

pub(super) fn run(command: &LinkCommand) -> Result<(), Failure> {
    match command {
        LinkCommand::Create(args) => create(args),
        LinkCommand::List(args) => list(args),
        LinkCommand::Revoke(args) => revoke(args),
    }
}

fn create(args: &CreateArgs) -> Result<(), Failure> {
    // All of it before anything is asked of the server: what fails later leaves a link that nobody knows.
    let document = document(args, SystemTime::now())?;
    if let Some(path) = &args.svg {
        staged::check_target(path, false)?;
    }
    let mut server = Server::of(&args.server)?;
    let answer = server.ask(Method::POST, "/links", Some(&document))?;
    let mut item = object(&answer)?;
    let url = link_url(&server.endpoint, &item).ok_or(LinkError::Nonsense)?;
    if args.json {
        item.insert("url".to_owned(), Value::from(&**url));
        print_json(&item)?;
    } else {
        print(&*url)?;
    }
    if args.qr {
        note(qr::on_terminal(&url)?);
    }
    args.svg
        .as_deref()
        .map_or(Ok(()), |path| write_svg(path, &url))
}

/// What the server is asked for. Everything that it would refuse is refused here.
fn document(args: &CreateArgs, now: SystemTime) -> Result<Value, Failure> {
    check(
        "--title",
        args.title
            .as_deref()
            .map(str::parse::<PageTitle>)
            .transpose(),
    )?;
    check(
        "--text",
        args.text.as_deref().map(str::parse::<PageText>).transpose(),
    )?;
    for field in &args.fields {
        check("--field", field.parse::<TextField>())?;
    }
    let mut recipients = Vec::new();
    for recipient in &args.recipients {
        let keys = read_recipients(recipient)?;
        recipients.extend(keys.iter().map(NamedRecipient::to_line));
    }
    let mut document = Map::new();
    let mut say = |key: &str, value: Value| {
        let is_said = !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
        if is_said {
            document.insert(key.to_owned(), value);
        }
    };
    let expires = args.expires.end(now);
    let expires =
        expires.map_err(|error| Failure::from_error(Exit::Usage, &error).about("--expires"))?;
    let expires = expires.map_or_else(|| "never".to_owned(), to_rfc3339);
    say("label", Value::from(args.label.trim()));
    say("expires", Value::from(expires));
    say("max_uploads", json!(args.max_uploads));
    say(
        "max_bytes",
        json!(args.max_bytes.map(|Amount(bytes)| bytes)),
    );
    say("max_file", json!(args.max_file.map(|Amount(bytes)| bytes)));
    say("types", json!(args.types));
    say("extensions", json!(args.extensions));
    say("title", json!(args.title));
    say("text", json!(args.text));
    say("fields", json!(args.fields));
    say("recipients", json!(recipients));
    if let Some(Term::After(keep)) = args.keep {
        say("keep", json!(keep.as_secs().max(1)));
    }
    let document = Value::Object(document);
    // As the server reads it.
    check(
        "the link",
        crate::http::new_link::parse(document.to_string().as_bytes(), now),
    )?;
    Ok(document)
}

fn check<T, E: std::error::Error + 'static>(what: &str, read: Result<T, E>) -> Result<(), Failure> {
    read.map(|_| ())
        .map_err(|error| Failure::from_error(Exit::Usage, &error).about(what))
}

/// The whole link, where the answer has one.
fn link_url(endpoint: &Endpoint, item: &Map<String, Value>) -> Option<Zeroizing<String>> {
    let address = item.get("link")?.as_str()?;
    let token = address.strip_prefix("/d/")?;
    token.parse::<LinkSecret>().ok()?;
    let authority = endpoint.authority();
    Some(Zeroizing::new(format!("https://{authority}/d/{token}")))
}

fn write_svg(path: &Path, url: &str) -> Result<(), Failure> {
    use std::io::Write;
    let svg = qr::drawing(url)?.to_svg();
    let (folder, name) = staged::split(path)?;
    let mut staged = Staged::in_folder(folder)?;
    staged
        .write_all(svg.as_bytes())
        .map_err(|error| Failure::io("write", path, &error))?;
    staged.publish(name, false)
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let mut server = Server::of(&args.server)?;
    let answer = server.ask(Method::GET, "/links", None)?;
    let mut found = object(&answer)?;
    let Some(Value::Array(links)) = found.remove("links") else {
        return Err(LinkError::Nonsense.into());
    };
    if args.json {
        return links.iter().try_for_each(print_json);
    }
    let table = table::lines(&links).ok_or(LinkError::Nonsense)?;
    table.iter().try_for_each(print)
}

/// Each by itself: one that is not there keeps nobody from the others.
fn revoke(args: &RevokeArgs) -> Result<(), Failure> {
    let mut server = Server::of(&args.server)?;
    let mut worst = None;
    for id in &args.ids {
        match server.ask(Method::DELETE, &format!("/links/{id}"), None) {
            Ok(_) => print(id)?,
            Err(error) => {
                let failure = Failure::from(error).about(id);
                failure.report();
                worst = worst.max(Some(failure.exit()));
            }
        }
    }
    worst.map_or(Ok(()), |exit| Err(Failure::reported(exit)))
}

fn object(answer: &Answer) -> Result<Map<String, Value>, LinkError> {
    serde_json::from_slice(&answer.body).map_err(|_| LinkError::Nonsense)
}

/// A server, and a connection to it.
struct Server {
    endpoint: Endpoint,
    client: HttpClient,
    authorization: Option<HeaderValue>,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    fn of(args: &ServerArgs) -> Result<Self, Failure> {
        let endpoint: Endpoint = args.url.parse()?;
        if !endpoint.is_of_server() {
            return Err(Failure::usage(
                "the URL leads to something on the server: give the server itself, as https://HOST/ or https://HOST:PORT/",
            ));
        }
        let authorization = authorization(args.token_file.as_deref())?;
        let client = HttpClient::new(endpoint.clone(), client_config(args.cacert.as_deref())?)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Other, format_args!("cannot start: {error}")))?;
        Ok(Self {
            endpoint,
            client,
            authorization,
            runtime,
        })
    }

    /// Asks, and gives the answer where it is a success.
    fn ask(
        &mut self,
        method: Method,
        path: &str,
        document: Option<&Value>,
    ) -> Result<Answer, LinkError> {
        let body = document.map_or_else(Body::empty, |document| {
            Body::whole(Bytes::from(document.to_string()))
        });
        let request = Request::builder().method(method).uri(path).body(body);
        let mut request = request.map_err(|_| LinkError::Nonsense)?;
        let headers = request.headers_mut();
        let media_type = HeaderValue::from_static("application/json");
        headers.insert(ACCEPT, media_type.clone());
        if document.is_some() {
            headers.insert(CONTENT_TYPE, media_type);
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let answer = self.runtime.block_on(self.client.send(request))?;
        match answer.status {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED => Err(LinkError::Unauthorized),
            status => Err(LinkError::Refused {
                status,
                said: said(&answer, "").map(|said| printable(&said)),
            }),
        }
    }
}
