//! Forms on their way in.

use std::sync::Arc;
use std::time::SystemTime;

use data_encoding::BASE64;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Door, IncomingFile, Submission, publish};
use crate::http::App;
use crate::http::body::{RequestBody, append};
use crate::http::limits::Permit;
use crate::http::multipart::{self, Boundary, Event, PartHead};
use crate::http::problem::Problem;
use crate::store::UploadId;
use crate::upload::{ClientName, FIELDS_TYPE, Kind, NewUpload, Received, Receiver, Terms};

/// What boundaries and headers add to the files and texts of a form, generously.
const FRAMING: u64 = 1 << 20;

/// A part of a form on its way in.
enum Part {
    /// Between parts.
    None,
    File(Box<IncomingFile>),
    /// What a browser sends for a file field that was left empty; a file all the same if it holds something.
    Unnamed(PartHead),
    Text {
        name: Vec<u8>,
        value: Zeroizing<Vec<u8>>,
    },
}

/// One text field, as the upload of a form's fields lists it.
#[derive(Serialize)]
struct Field {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Where the value is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl Drop for Field {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.name.zeroize();
        self.value.zeroize();
        self.base64.zeroize();
    }
}

#[derive(Serialize)]
struct Fields<'a> {
    fields: &'a [Field],
}

/// What is known of a form before it arrives.
pub(super) struct Incoming {
    pub(super) boundary: Boundary,
    pub(super) terms: Terms,
    pub(super) door: Door,
    /// What our own form's text fields are called.
    pub(super) fields: Vec<String>,
}

/// A form as it comes in: its files one after another, its texts together in the end.
struct FormReceiver<'a> {
    app: &'a App,
    submission: UploadId,
    terms: Terms,
    door: Door,
    asked: Vec<String>,
    received: Vec<Received>,
    fields: Vec<Field>,
    /// Bytes of the texts, and of all names and media types: what is held in memory until the form ends.
    held: usize,
    part: Part,
}

/// Takes in a form: its files and texts become uploads of one submission, which is published when the whole form has arrived.
pub(super) async fn receive(
    app: Arc<App>,
    mut body: RequestBody,
    incoming: Incoming,
    _permit: Permit,
) -> Result<Submission, Problem> {
    let limits = multipart::Limits {
        parts: app.limits.max_parts,
        part_header_bytes: app.limits.max_part_headers,
        name_bytes: app.limits.max_name,
    };
    let mut parser = multipart::Parser::new(incoming.boundary, limits);
    let terms = bounded(&app, &body, incoming.terms).await?;
    let mut form = FormReceiver {
        app: &app,
        submission: UploadId::generate(SystemTime::now()),
        terms,
        door: incoming.door,
        asked: incoming.fields,
        received: Vec::new(),
        fields: Vec::new(),
        held: 0,
        part: Part::None,
    };
    loop {
        match parser.next()? {
            Event::NeedMore => match body.next().await? {
                Some(frame) => parser.feed(frame),
                None => parser.finish(),
            },
            Event::Part(head) => form.begin(head).await?,
            Event::Data(data) => form.write(&data).await?,
            Event::PartEnd => form.end().await?,
            Event::End => break,
        }
    }
    // The form is whole only when the body is.
    while body.next().await?.is_some() {}
    // Boxed when it comes to that: an upload may take hours, and its future need not have room for its end all the while.
    Box::pin(form.publish(&app)).await
}

/// A form that announces more than its link has room for is refused before it is asked for. No file in it can be longer than all
/// of it: nothing more is reserved for one.
async fn bounded(app: &Arc<App>, body: &RequestBody, mut terms: Terms) -> Result<Terms, Problem> {
    let Some(announced) = body.announced() else {
        return Ok(terms);
    };
    terms.max_size = terms.max_size.min(announced);
    let checked = app.blocking(move |app| {
        let files = announced.saturating_sub(FRAMING);
        app.uploads.check_room(&terms, files).map(|()| terms)
    });
    Ok(checked.await??)
}

impl FormReceiver<'_> {
    async fn begin(&mut self, head: PartHead) -> Result<(), Problem> {
        let names = [
            &head.filename.as_deref(),
            &head.content_type.as_deref().map(str::as_bytes),
        ];
        let names = names
            .iter()
            .filter_map(|name| name.map(<[u8]>::len))
            .sum::<usize>();
        self.hold(head.name.len() + names)?;
        self.part = match &head.filename {
            None => Part::Text {
                name: head.name,
                value: Zeroizing::new(Vec::new()),
            },
            Some(name) if name.is_empty() => Part::Unnamed(head),
            Some(_) => return self.begin_file(head).await,
        };
        Ok(())
    }

    /// Counts what is held in memory until the form ends.
    fn hold(&mut self, size: usize) -> Result<(), Problem> {
        self.held += size;
        if self.held > self.app.limits.max_fields {
            return Err(Problem::fields_too_large(self.app.limits.max_fields));
        }
        Ok(())
    }

    fn file(&self, head: PartHead) -> Result<NewUpload, Problem> {
        let name = head
            .filename
            .filter(|name| !name.is_empty())
            .map(ClientName::new);
        self.door
            .check_kind(name.as_ref(), head.content_type.as_deref())?;
        Ok(NewUpload {
            submission: Some(self.submission),
            kind: Kind::File,
            name,
            media_type: head.content_type,
            length: None,
            terms: self.terms.clone(),
        })
    }

    async fn begin_file(&mut self, head: PartHead) -> Result<(), Problem> {
        let new = self.file(head)?;
        let file = IncomingFile::begin(self.app, new, false).await?;
        self.part = Part::File(Box::new(file));
        Ok(())
    }

    async fn write(&mut self, data: &[u8]) -> Result<(), Problem> {
        if let Part::Unnamed(_) = self.part
            && let Part::Unnamed(head) = std::mem::replace(&mut self.part, Part::None)
        {
            self.begin_file(head).await?;
        }
        if matches!(self.part, Part::Text { .. }) {
            self.hold(data.len())?;
        }
        match &mut self.part {
            Part::File(file) => file.write(data).await?,
            Part::Text { value, .. } => append(value, data),
            Part::None | Part::Unnamed(_) => {}
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Problem> {
        match std::mem::replace(&mut self.part, Part::None) {
            Part::File(file) => self.received.push(Box::pin(file.finish()).await?),
            Part::Text { name, value } => {
                let text = std::str::from_utf8(&value).ok().map(str::to_owned);
                let base64 = text.is_none().then(|| BASE64.encode(&value));
                let name = String::from_utf8_lossy(&name).into_owned();
                self.fields.push(Field {
                    name,
                    value: text,
                    base64,
                });
            }
            Part::None | Part::Unnamed(_) => {}
        }
        Ok(())
    }

    /// Nothing was written, and browsers send the fields all the same. A form that is not ours may mean something by a field
    /// without a text, beside files.
    fn forget_empty_fields(&mut self) {
        let empty = |field: &Field| field.value.as_deref() == Some("");
        let ours = |field: &Field| self.asked.contains(&field.name);
        let alone = self.received.is_empty();
        if self
            .fields
            .iter()
            .all(|field| empty(field) && (alone || ours(field)))
        {
            self.fields.clear();
        }
    }

    async fn publish(mut self, app: &Arc<App>) -> Result<Submission, Problem> {
        self.forget_empty_fields();
        if !self.fields.is_empty() {
            // Of the right size at once, escapes counted in: growing would leave copies behind.
            let mut text = Zeroizing::new(Vec::with_capacity(
                self.held * 6 + self.fields.len() * 32 + 16,
            ));
            serde_json::to_writer(
                &mut *text,
                &Fields {
                    fields: &self.fields,
                },
            )
            .map_err(Problem::internal)?;
            let mut receiver = Receiver::begin(
                &app.uploads,
                NewUpload {
                    submission: Some(self.submission),
                    kind: Kind::Fields,
                    name: None,
                    media_type: Some(FIELDS_TYPE.to_owned()),
                    length: Some(text.len() as u64),
                    terms: self.terms,
                },
                false,
            )
            .await?;
            receiver.write(&text).await?;
            self.received.push(receiver.finish().await?);
        }
        if self.received.is_empty() {
            return Err(Problem::empty_form());
        }
        let uploads = publish(app, self.received).await?;
        Ok(Submission {
            submission: self.submission,
            uploads,
        })
    }
}
