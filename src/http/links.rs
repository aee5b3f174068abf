//! Upload links: `/d/{token}`, where people hand in without an account, and `/links`, where the admin makes and revokes them.
//!
//! A link is looked up anew for every request, so what is revoked is closed at once, on every server over the same store.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::access::{refuse_cross_site, require};
use super::body::RequestBody;
use super::call::Call;
use super::create::{self, Door, text_header};
use super::new_link;
use super::page::{LinkPage, Reader};
use super::problem::Problem;
use super::resumable::options::answer_options;
use super::submission::KIND;
use super::{App, Response, empty, json, text};
use crate::grant::{GrantId, Link, LinkSecret, LinkState, MediaRange, Scope};
use crate::keys::parse_recipients;
use crate::upload::{ClientName, essence, to_rfc3339};

/// Bytes in the body of `POST /links`: texts for a page, and as many public keys as there may be, of 2 KB each.
const MAX_BODY: u64 = 192 << 10;
/// How long that body may take.
const BODY_TIME: Duration = Duration::from_secs(30);

/// What stands after `/d/`: a link's secret, or whatever else somebody tried. Without `Debug`.
pub(super) struct LinkToken(Zeroizing<String>);

impl LinkToken {
    pub(super) fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// Where the link's page is.
    fn address(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("/d/{}", *self.0))
    }

    /// The secret. What is none is looked up all the same, as one that nobody has: so it takes as long to say that there is
    /// no such link.
    fn secret(&self) -> Option<(LinkSecret, bool)> {
        if let Ok(secret) = self.0.parse() {
            return Some((secret, true));
        }
        let nobodys = "0".repeat(32).parse();
        nobodys.ok().map(|secret| (secret, false))
    }
}

/// The link of this token, in whatever state it is.
async fn find(call: Call<'_>, token: &LinkToken) -> Result<Link, Problem> {
    let Some((secret, is_one)) = token.secret() else {
        return Err(Problem::no_such_link().of_a_guess());
    };
    let found = call
        .app
        .blocking(move |app| app.uploads.find_link(&secret, SystemTime::now()))
        .await??;
    if let Some(link) = &found {
        call.facts.are_about_link(&link.id().to_string());
    }
    found
        .filter(|_| is_one)
        .ok_or_else(|| Problem::no_such_link().of_a_guess())
}

/// The link of this token, where it takes something still.
async fn find_open(call: Call<'_>, token: &LinkToken) -> Result<Link, Problem> {
    let link = find(call, token).await?;
    check_state(&link, SystemTime::now())?;
    Ok(link)
}

fn check_state(link: &Link, now: SystemTime) -> Result<(), Problem> {
    match link.state(now) {
        LinkState::Open => Ok(()),
        LinkState::Expired => Err(Problem::link_expired()),
        LinkState::Revoked => Err(Problem::link_revoked()),
        LinkState::UsedUp => Err(Problem::link_used_up()),
    }
}

/// Refuses what a link takes no more, before anything of it is asked for.
pub(super) fn check(link: &Link, headers: &HeaderMap) -> Result<(), Problem> {
    let now = SystemTime::now();
    let are_fields = headers.get(KIND).is_some_and(|kind| kind == "fields");
    match link.state(now) {
        // The texts that belong to the last file may come after it.
        LinkState::UsedUp if are_fields => Ok(()),
        _ => check_state(link, now),
    }
}

/// Refuses a file of a kind that a link does not take. It takes what has one of its types, and what has one of its extensions.
pub(super) fn check_kind(
    link: &Link,
    name: Option<&ClientName>,
    media_type: Option<&str>,
) -> Result<(), Problem> {
    let of_type = |range: &MediaRange| {
        range.as_str() == "*/*" || media_type.is_some_and(|given| range.contains(given))
    };
    let name = name.map(|name| name.to_text().to_lowercase());
    let of_extension = |extension: &String| {
        let rest = name
            .as_ref()
            .and_then(|name| name.strip_suffix(&**extension));
        rest.is_some_and(|rest| rest.ends_with('.'))
    };
    let takes_all = link.types.is_empty() && link.extensions.is_empty();
    if takes_all || link.types.iter().any(of_type) || link.extensions.iter().any(of_extension) {
        return Ok(());
    }
    Err(Problem::type_not_accepted(&link.types, &link.extensions))
}

/// Refuses what is larger than what is left of a link.
pub(super) fn check_left(link: &Link, size: u64) -> Result<(), Problem> {
    match link.bytes_left() {
        Some(left) if size > left => Err(Problem::link_bytes_used_up(left)),
        _ => Ok(()),
    }
}

/// `GET /d/{token}`: the page to hand in at.
pub(super) async fn page(call: Call<'_>, token: LinkToken) -> Result<Response, Problem> {
    let link = find_open(call, &token).await?;
    let page = link_page(&link, &token)?;
    Ok(Reader::of(call.app, call.head).at(Some(&page)).form())
}

fn link_page(link: &Link, token: &LinkToken) -> Result<LinkPage, Problem> {
    LinkPage::of(link, token.address()).map_err(Problem::internal)
}

/// `GET /d/{token}/recipients`: the keys that what comes through the link is sealed to.
pub(super) async fn recipients(call: Call<'_>, token: LinkToken) -> Result<Response, Problem> {
    let link = find_open(call, &token).await?;
    if link.recipients.is_empty() {
        return Ok(super::recipients(call.app));
    }
    Ok(text(link.recipients.join("\n") + "\n"))
}

/// `OPTIONS` of everything below `/d/{token}`.
pub(super) async fn options(
    call: Call<'_>,
    token: LinkToken,
    methods: &'static str,
) -> Result<Response, Problem> {
    let link = find_open(call, &token).await?;
    Ok(answer_options(max_file(call.app, &link), methods))
}

/// Bytes that one file may have.
pub(super) fn max_file(app: &App, link: &Link) -> u64 {
    app.limits.max_size.min(link.max_file.unwrap_or(u64::MAX))
}

/// `POST /d/{token}`: creates an upload, in all the ways of `/uploads`.
pub(super) async fn post(
    call: Call<'_>,
    token: LinkToken,
    body: RequestBody,
) -> Result<Response, Problem> {
    let link = find(call, &token).await?;
    let page = link_page(&link, &token)?;
    let door = Door::Link(Box::new(link));
    // A large future for one arm of many.
    let answer = Box::pin(create::from_post(call.at(&page), door, body)).await;
    answer.map_err(|problem| problem.at(page))
}

/// `PUT /d/{token}/{name}`
pub(super) async fn put(
    call: Call<'_>,
    token: LinkToken,
    name: Option<ClientName>,
    body: RequestBody,
) -> Result<Response, Problem> {
    let link = find(call, &token).await?;
    let page = link_page(&link, &token)?;
    let door = Door::Link(Box::new(link));
    let answer = Box::pin(create::from_put(call.at(&page), door, name, body)).await;
    answer.map_err(|problem| problem.at(page))
}

/// What the admin is told of a link. Never its secret.
#[derive(Serialize)]
struct Item {
    id: GrantId,
    label: String,
    created: String,
    expires: Option<String>,
    state: &'static str,
    max_uploads: Option<u64>,
    max_bytes: Option<u64>,
    max_file: Option<u64>,
    types: Vec<MediaRange>,
    extensions: Vec<String>,
    keep: Option<u64>,
    /// Fingerprints. Empty where the server's keys are used.
    recipients: Vec<String>,
    used: Amount,
    reserved: Amount,
}

#[derive(Serialize)]
struct Amount {
    uploads: u64,
    bytes: u64,
}

impl Item {
    fn of(link: Link, now: SystemTime) -> Self {
        let keys = link.recipients.iter();
        let keys = keys
            .filter_map(|line| parse_recipients(line).ok())
            .flatten();
        let reserved = link.reserved_usage();
        Self {
            id: link.id(),
            state: link.state(now).name(),
            created: to_rfc3339(link.created),
            expires: link.expires.map(to_rfc3339),
            recipients: keys.map(|key| key.fingerprint()).collect(),
            used: Amount {
                uploads: link.used.uploads,
                bytes: link.used.bytes,
            },
            reserved: Amount {
                uploads: reserved.uploads,
                bytes: reserved.bytes,
            },
            keep: link.keep.map(|keep| keep.as_secs()),
            label: link.label,
            max_uploads: link.max_uploads,
            max_bytes: link.max_bytes,
            max_file: link.max_file,
            types: link.types,
            extensions: link.extensions,
        }
    }
}

/// The one answer that tells the link.
#[derive(Serialize)]
struct Created<'a> {
    link: &'a str,
    #[serde(flatten)]
    item: Item,
}

#[derive(Serialize)]
struct List {
    links: Vec<Item>,
}

/// `POST /links`: makes a link.
pub(super) async fn create(call: Call<'_>, mut body: RequestBody) -> Result<Response, Problem> {
    let Call { app, head, .. } = call;
    require(call, Scope::Admin).await?;
    refuse_cross_site(call, &Method::POST)?;
    let media_type = text_header(&head.headers, CONTENT_TYPE).unwrap_or_default();
    if !essence(media_type).eq_ignore_ascii_case("application/json") {
        return Err(Problem::media_type("application/json"));
    }
    body.limit(MAX_BODY)?;
    let document = timeout(BODY_TIME, body.collect()).await;
    let document = document.map_err(|_| Problem::too_slow(BODY_TIME))??;
    let now = SystemTime::now();
    let made = app.blocking(move |app| {
        let new = new_link::parse(&document, now)?;
        Ok::<_, Problem>(app.links.create(new, now)?)
    });
    let (secret, link) = made.await??;
    call.facts.are_about_link(&link.id().to_string());
    let token = secret.to_text();
    let address = Zeroizing::new(format!("/d/{}", *token));
    let location = format!("/links/{}", link.id());
    let created = Created {
        link: &address,
        item: Item::of(link, now),
    };
    let mut response = json(&created);
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// `GET /links`: all of them, the newest first.
pub(super) async fn list(call: Call<'_>) -> Result<Response, Problem> {
    require(call, Scope::Admin).await?;
    let listing = call.app.blocking(|app| app.links.list()).await??;
    for error in &listing.damaged {
        tracing::error!(%error, "a link is left out of the list");
    }
    let now = SystemTime::now();
    let links = listing.grants.into_iter().map(|link| Item::of(link, now));
    Ok(json(&List {
        links: links.collect(),
    }))
}

/// `GET /links/{id}`
pub(super) async fn show(call: Call<'_>, id: GrantId) -> Result<Response, Problem> {
    require(call, Scope::Admin).await?;
    let found = call.app.blocking(move |app| app.links.link(&id)).await??;
    let link = found.ok_or_else(Problem::no_such_link)?;
    Ok(json(&Item::of(link, SystemTime::now())))
}

/// `DELETE /links/{id}`: revokes a link, also one that was revoked before.
pub(super) async fn revoke(call: Call<'_>, id: GrantId) -> Result<Response, Problem> {
    let Call { app, head, .. } = call;
    require(call, Scope::Admin).await?;
    refuse_cross_site(call, &head.method)?;
    call.facts.are_about_link(&id.to_string());
    let revoked = app.blocking(move |app| app.links.revoke(&id, SystemTime::now()));
    revoked.await??;
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
