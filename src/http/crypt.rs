//! `/encrypt` and `/decrypt`: one form field, sealed to text and back, in memory.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::access;
use super::body::{RequestBody, append};
use super::call::Call;
use super::form::urlencoded_field;
use super::multipart::{self, Boundary, Event};
use super::negotiate::Form;
use super::problem::Problem;
use super::{App, Response, json, respond_with, text};
use crate::grant::Scope;
use crate::seal::{self, ArmorDecoder, ArmorEncoder, Identity, looks_armored};
use crate::upload::essence;

/// The field that both read.
const FIELD: &[u8] = b"data";
/// Every answer of `/decrypt` that took the private key comes at a multiple of this, so that its time tells nothing.
const TICK: Duration = Duration::from_millis(50);

#[derive(Serialize)]
struct Sealed<'a> {
    data: &'a str,
}

#[derive(Serialize)]
struct Opened<'a> {
    data: &'a str,
    encoding: &'static str,
}

/// `POST /encrypt`: seals the field as ASCII-armored age text.
pub(super) async fn encrypt(call: Call<'_>, body: RequestBody) -> Result<Response, Problem> {
    let app = call.app;
    let headers = &call.head.headers;
    access::require(call, Scope::Upload).await?;
    let _permit = app
        .data_permits
        .try_acquire()
        .map_err(|_| Problem::busy())?;
    let data = field(app, headers, body).await?;
    let sealed = app
        .blocking(move |app| seal::seal(&app.uploads.recipients(), &[], &data))
        .await?
        .map_err(Problem::internal)?;
    let mut armored = Vec::with_capacity(sealed.len() * 3 / 2);
    let mut encoder = ArmorEncoder::new();
    encoder.push(&sealed, &mut armored);
    encoder.finish(&mut armored);
    let armored = String::from_utf8(armored).map_err(Problem::internal)?;
    Ok(match Form::preferred(headers, &[Form::Text, Form::Json]) {
        Form::Json => json(&Sealed { data: &armored }),
        _ => text(armored),
    })
}

/// `POST /decrypt`: opens what `/encrypt`, or `age` with the same key, sealed.
pub(super) async fn decrypt(call: Call<'_>, body: RequestBody) -> Result<Response, Problem> {
    let Call { app, head, .. } = call;
    let headers = &head.headers;
    access::require(call, Scope::Admin).await?;
    if app.uploads.identities().is_empty() {
        return Err(Problem::no_private_key());
    }
    access::refuse_cross_site(call, &http::Method::POST)?;
    let _permit = app
        .data_permits
        .try_acquire()
        .map_err(|_| Problem::busy())?;
    let data = field(app, headers, body).await?;
    // One at a time, and at fixed times: an online caller learns nothing from how long the private key was used.
    let _turn = app
        .private_key_turn
        .acquire()
        .await
        .map_err(Problem::internal)?;
    let began = Instant::now();
    let opened = app
        .blocking(move |app| open(&data, app.uploads.identities()))
        .await;
    let ticks = began.elapsed().as_millis() / TICK.as_millis() + 1;
    tokio::time::sleep_until(began + TICK * u32::try_from(ticks).unwrap_or(1)).await;
    let opened = opened?.ok_or_else(Problem::does_not_open)?;
    Ok(match Form::preferred(headers, &[Form::Text, Form::Json]) {
        Form::Json => opened_json(&opened),
        // The bytes go out as they are, and are erased when they have.
        _ if std::str::from_utf8(&opened).is_ok() => text(Bytes::from_owner(opened)),
        _ => respond_with("application/octet-stream", Bytes::from_owner(opened)),
    })
}

fn opened_json(opened: &[u8]) -> Response {
    if let Ok(data) = std::str::from_utf8(opened) {
        return json(&Opened {
            data,
            encoding: "utf-8",
        });
    }
    let data = Zeroizing::new(BASE64.encode(opened));
    json(&Opened {
        data: &data,
        encoding: "base64",
    })
}

/// Armored or binary. Why it does not open is nobody's business online.
fn open(data: &[u8], identities: &[Identity]) -> Option<Zeroizing<Vec<u8>>> {
    if !looks_armored(data) {
        return seal::open(data, identities).ok();
    }
    let mut decoder = ArmorDecoder::new();
    let mut binary = Vec::new();
    decoder.push(data, &mut binary).ok()?;
    decoder.finish(&mut binary).ok()?;
    seal::open(&binary, identities).ok()
}

/// Reads the field from a form of either kind.
async fn field(
    app: &App,
    headers: &HeaderMap,
    mut body: RequestBody,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    // Percent-encoding triples what is not text.
    body.limit(app.limits.max_data as u64 * 3)?;
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    let found = if let Some(boundary) = Boundary::from_content_type(content_type)? {
        multipart_field(app, boundary, body.collect().await?)?
    } else {
        if !essence(content_type).eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Problem::unsupported_form());
        }
        urlencoded_field(&body.collect().await?, FIELD)?
    };
    let data = found.ok_or_else(Problem::missing_data)?;
    if data.len() > app.limits.max_data {
        return Err(super::body::BodyError::TooLarge {
            limit: app.limits.max_data as u64,
        }
        .into());
    }
    Ok(data)
}

/// The first part with the field's name, be it a text or a file.
fn multipart_field(
    app: &App,
    boundary: Boundary,
    body: Zeroizing<Vec<u8>>,
) -> Result<Option<Zeroizing<Vec<u8>>>, Problem> {
    let limits = multipart::Limits {
        parts: app.limits.max_parts,
        part_header_bytes: app.limits.max_part_headers,
        name_bytes: app.limits.max_name,
    };
    let mut parser = multipart::Parser::new(boundary, limits);
    // Erased when the last piece of it is dropped.
    let mut body = Some(Bytes::from_owner(body));
    let (mut found, mut wanted) = (None, false);
    loop {
        match parser.next()? {
            Event::NeedMore => match body.take() {
                Some(body) => parser.feed(body),
                None => parser.finish(),
            },
            Event::Part(head) => wanted = found.is_none() && head.name == FIELD,
            Event::Data(data) if wanted => {
                append(
                    found.get_or_insert_with(|| Zeroizing::new(Vec::new())),
                    &data,
                );
            }
            Event::PartEnd if wanted => {
                found.get_or_insert_with(|| Zeroizing::new(Vec::new()));
                wanted = false;
            }
            Event::Data(_) | Event::PartEnd => {}
            Event::End => return Ok(found),
        }
    }
}
