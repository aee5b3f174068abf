//! Where an upload belongs that comes in a request of its own. `Sealslot-Submission` holds the URL of a resumable upload, whose
//! submission the new one joins; `Sealslot-Kind: fields` says that it is what a form's text fields are. So what one person
//! hands in at one time stays together, also where a client sends it file by file.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use super::App;
use super::body::RequestBody;
use super::create::Door;
use super::problem::Problem;
use super::resumable::draft::UPLOAD_LIMIT;
use super::tus_fields::upload_url;
use crate::grant::GrantId;
use crate::store::UploadId;
use crate::upload::{ClientName, FIELDS_TYPE, Kind, NewSession, NewUpload, Role, UploadUrl};

const SUBMISSION: HeaderName = HeaderName::from_static("sealslot-submission");
pub(super) const KIND: HeaderName = HeaderName::from_static("sealslot-kind");

/// Why it is not clear where an upload belongs. Never contains what the client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmissionFieldError {
    /// Not one upload URL.
    #[error(
        "Sealslot-Submission is one URL of an upload that comes in several requests, as Location gave it"
    )]
    Submission,
    /// Not the one value that there is.
    #[error("Sealslot-Kind has no other value than fields")]
    Kind,
}

/// What a request says of where its upload belongs. Without `Debug`: the URL is a capability.
pub struct Place {
    /// An upload of the submission that it joins.
    pub joins: Option<UploadUrl>,
    /// What it is.
    pub kind: Kind,
}

impl Place {
    /// Reads both fields, each of which may be missing.
    pub fn of(headers: &HeaderMap) -> Result<Self, SubmissionFieldError> {
        let joins = lone(headers, &SUBMISSION, SubmissionFieldError::Submission)?;
        let joins = joins.map(|url| upload_url(url).ok_or(SubmissionFieldError::Submission));
        let joins = joins.transpose()?;
        let kind = match lone(headers, &KIND, SubmissionFieldError::Kind)? {
            None => Kind::File,
            Some("fields") => Kind::Fields,
            Some(_) => return Err(SubmissionFieldError::Kind),
        };
        Ok(Self { joins, kind })
    }

    /// Refuses fields without a length, or with more than a form may have.
    fn check_length(&self, app: &App, length: Option<u64>) -> Result<(), Problem> {
        if self.kind == Kind::File {
            return Ok(());
        }
        let limit = app.limits.max_fields;
        match length {
            None => Err(Problem::fields_without_length()),
            Some(length) if length > limit as u64 => {
                // What the server allows for files would not help.
                let about = Problem::fields_too_large(limit);
                Err(about.with(UPLOAD_LIMIT, &format!("max-size={limit}")))
            }
            Some(_) => Ok(()),
        }
    }

    /// The submission that the upload joins, where there is one.
    async fn submission(
        self,
        app: &Arc<App>,
        link: Option<GrantId>,
    ) -> Result<Option<UploadId>, Problem> {
        let Some(url) = self.joins else {
            return Ok(None);
        };
        let found = app.blocking(move |app| app.uploads.submission_of(&url, link.as_ref()));
        found.await?.map(Some).map_err(Problem::no_submission)
    }
}

/// The value of a field that stands there once, if at all.
fn lone<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    malformed: SubmissionFieldError,
) -> Result<Option<&'a str>, SubmissionFieldError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| malformed)?.trim_matches(' ');
    // Proxies make one line of several: a comma says that the field stood twice.
    if values.next().is_some() || text.contains([' ', ',']) {
        return Err(malformed);
    }
    Ok(Some(text))
}

/// Refuses both fields where a request makes uploads that have their place already.
pub(super) fn refuse(headers: &HeaderMap, detail: &'static str) -> Result<(), Problem> {
    if headers.contains_key(SUBMISSION) || headers.contains_key(KIND) {
        return Err(Problem::placed_already(detail));
    }
    Ok(())
}

/// Puts an upload that comes in one body where it belongs. Comes before its body is asked for.
pub(super) async fn place_upload(
    app: &Arc<App>,
    headers: &HeaderMap,
    door: &Door,
    body: &RequestBody,
    mut new: NewUpload,
) -> Result<NewUpload, Problem> {
    let named = (&mut new.name, &mut new.media_type);
    let known = (body.announced(), new.terms.link);
    let found = place(app, headers, known, named).await?;
    (new.kind, new.submission) = found;
    if new.kind == Kind::File {
        door.check_kind(new.name.as_ref(), new.media_type.as_deref())?;
    }
    Ok(new)
}

/// The same for one that may come in several.
pub(super) async fn place_session(
    app: &Arc<App>,
    headers: &HeaderMap,
    door: &Door,
    mut new: NewSession,
) -> Result<NewSession, Problem> {
    if new.role != Role::Whole {
        refuse(
            headers,
            "Parts, and what is made of them, join no submission: leave Sealslot-Submission and Sealslot-Kind out.",
        )?;
    }
    let named = (&mut new.name, &mut new.media_type);
    let known = (new.length, new.terms.link);
    let found = place(app, headers, known, named).await?;
    (new.kind, new.submission) = found;
    // Parts are called nothing: what is made of them is.
    if new.kind == Kind::File && new.role != Role::Partial {
        door.check_kind(new.name.as_ref(), new.media_type.as_deref())?;
    }
    Ok(new)
}

/// What an upload of this length, through this link, is, and the submission that it joins. Fields are called nothing, whatever
/// the client says, and so they are never taken for something else.
async fn place(
    app: &Arc<App>,
    headers: &HeaderMap,
    (length, link): (Option<u64>, Option<GrantId>),
    (name, media_type): (&mut Option<ClientName>, &mut Option<String>),
) -> Result<(Kind, Option<UploadId>), Problem> {
    let place = Place::of(headers)?;
    place.check_length(app, length)?;
    let kind = place.kind;
    if kind == Kind::Fields {
        *name = None;
        *media_type = Some(FIELDS_TYPE.to_owned());
    }
    Ok((kind, place.submission(app, link).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn with(pairs: &[(&HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn an_upload_is_named_by_any_form_of_its_url() {
        let segment = format!("{}.{}", "0".repeat(32), "1".repeat(32));
        for value in [
            segment.clone(),
            format!("/uploads/{segment}"),
            format!("https://proxy.example:1/below/uploads/{segment}?x=/y#/z"),
            format!("  {segment} "),
        ] {
            let place = Place::of(&with(&[(&SUBMISSION, &value)])).ok().unwrap();
            assert!(*place.joins.unwrap().to_segment() == segment, "{value}");
            assert_eq!(place.kind, Kind::File);
        }
        let place = Place::of(&HeaderMap::new()).ok().unwrap();
        assert!(place.joins.is_none() && place.kind == Kind::File);
        let place = Place::of(&with(&[(&KIND, "fields")])).ok().unwrap();
        assert!(place.joins.is_none() && place.kind == Kind::Fields);
    }

    #[test]
    fn all_else_is_refused() {
        let segment = format!("{}.{}", "0".repeat(32), "1".repeat(32));
        let two = format!("{segment} {segment}");
        let listed = format!("/uploads/{segment}, /uploads/{segment}");
        let (id, _) = segment.split_once('.').unwrap();
        let below = format!("/uploads/{segment}/");
        for value in [
            "",
            " ",
            "x",
            "/uploads/",
            id,
            &two,
            &listed,
            &below,
            "\u{e9}",
        ] {
            let found = Place::of(&with(&[(&SUBMISSION, value)])).err();
            assert_eq!(found, Some(SubmissionFieldError::Submission), "{value}");
        }
        let twice = with(&[(&SUBMISSION, &segment), (&SUBMISSION, &segment)]);
        assert!(Place::of(&twice).is_err());
        for value in ["", "file", "Fields", "fields, fields", "\u{e9}"] {
            let found = Place::of(&with(&[(&KIND, value)])).err();
            assert_eq!(found, Some(SubmissionFieldError::Kind), "{value}");
        }
        assert!(Place::of(&with(&[(&KIND, "fields"), (&KIND, "fields")])).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_was_there(text in "[0-9a-v./?#, ]{60,75}|.{0,30}") {
            let Ok(value) = HeaderValue::from_str(&text) else {
                return Ok(());
            };
            let mut headers = HeaderMap::new();
            headers.insert(SUBMISSION, value.clone());
            if let Ok(place) = Place::of(&headers) {
                let joins = place.joins.expect("the field is there");
                prop_assert!(text.contains(&**joins.to_segment()));
            }
            headers.insert(KIND, value);
            let _ = Place::of(&headers);
        }
    }
}
