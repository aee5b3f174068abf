//! `sealslot link`: upload links, made, listed and revoked on a server by whoever has its admin token.

pub(super) mod qr;
mod table;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use super::client::endpoint::Endpoint;
use super::client::{self, Access, Server, ServerArgs, ServerError};
use super::results::{note, print, print_json};
use super::staged::{self, Staged};
use super::{Exit, Failure};
use crate::config::{Amount, Term};
use crate::grant::{GrantId, LinkSecret, MediaRange};
use crate::http::{PageText, PageTitle, TextField};
use crate::keys::{NamedRecipient, read_recipients};
use crate::upload::to_rfc3339;

/// Make, list and revoke upload links
///
/// Whoever has one can hand in files, and nothing else.
#[derive(Subcommand, Debug)]
#[command(after_long_help = "Examples:
  sealslot link create --token-file admin.token https://files.example.org/
  sealslot link list --token-file admin.token https://files.example.org/")]
pub(super) enum LinkCommand {
    Create(Box<CreateArgs>),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make an upload link, and print it
///
/// The link is shown this once: the server keeps only a hash of it. Whoever has it can hand in files through a page of its
/// own, with curl or with `sealslot upload`, and sees nothing of what was handed in.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot link create --token-file admin.token --expires 3d --max-uploads 1 https://files.example.org/
  sealslot link create --title \"Dr. Weber\" --field \"name=Your name\" --qr https://files.example.org/
  sealslot link create --token-file admin.token --type application/pdf --max-file 20MiB https://files.example.org/")]
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

/// List upload links, the newest first, with what came through each
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot link list --token-file admin.token https://files.example.org/
  sealslot link list --json --token-file admin.token https://files.example.org/")]
pub(super) struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Print a JSON object for each, on a line
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

/// Revoke upload links
///
/// From now on they take nothing, not even the rest of what is on its way.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot link revoke --token-file admin.token https://files.example.org/ 06f1c8v5g8p2kq3m7t9d4n6r2s5u1v0g")]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Which, as the list shows them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<GrantId>,
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
    let (runtime, access, mut server) = connect(&args.server)?;
    let answer = runtime.block_on(server.ask(Method::POST, "/links", Some(&document)))?;
    let mut item: Map<String, Value> = client::document(&answer)?;
    let url = link_url(access.endpoint(), &item).ok_or(ServerError::Nonsense)?;
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
    let (runtime, _, mut server) = connect(&args.server)?;
    let answer = runtime.block_on(server.ask(Method::GET, "/links", None))?;
    let mut found: Map<String, Value> = client::document(&answer)?;
    let Some(Value::Array(links)) = found.remove("links") else {
        return Err(ServerError::Nonsense.into());
    };
    if args.json {
        return links.iter().try_for_each(print_json);
    }
    let table = table::lines(&links).ok_or(ServerError::Nonsense)?;
    table.iter().try_for_each(print)
}

/// Each by itself: one that is not there keeps nobody from the others.
fn revoke(args: &RevokeArgs) -> Result<(), Failure> {
    let (runtime, _, mut server) = connect(&args.server)?;
    let mut worst = None;
    for id in &args.ids {
        match runtime.block_on(server.ask(Method::DELETE, &format!("/links/{id}"), None)) {
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

fn connect(args: &ServerArgs) -> Result<(Runtime, Access, Server), Failure> {
    let access = Access::of(args)?;
    let server = access.connection()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Other, format_args!("cannot start: {error}")))?;
    Ok((runtime, access, server))
}
