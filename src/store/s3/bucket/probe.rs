//! Tries what an engine keeps of what S3 promises, with objects of its own: each promise is needed, or is done without and said so.

use bytes::Bytes;
use futures_util::future::join_all;
use object_store::aws::AwsCredentialProvider;

use super::client::{self, Manner};
use super::conditional::{self, Written};
use super::connector::{Connector, Deadlines};
use super::engine::{Checksum, Engine};
use super::error::{Answer, BucketError};
use super::list;
use super::requests::{Condition, IfMatch, Requests};
use super::{ETag, Endpoint, Notes, random_name};
use crate::store::s3::settings::S3Settings;

/// As many try to write one object at the same time.
const AT_ONCE: usize = 8;
const NOTE: (&str, &str) = ("sealslot-probe", "kept");
const MOST: u64 = 4096;
/// Of no object.
const WRONG_ETAG: &str = "\"00000000000000000000000000000000\"";

/// What came of it.
pub(super) struct Found {
    pub(super) engine: Engine,
    pub(super) requests: Requests,
    pub(super) hasty: Requests,
}

/// Makes what sends requests, so that all of them have the same temporary credentials.
struct Clients<'a> {
    settings: &'a S3Settings,
    connector: &'a Connector,
    deadlines: Deadlines,
    credentials: AwsCredentialProvider,
}

const SIGNED: Manner = Manner {
    announced: false,
    signed: true,
    again: true,
    bulk: false,
};

impl<'a> Clients<'a> {
    fn new(
        settings: &'a S3Settings,
        connector: &'a Connector,
        deadlines: Deadlines,
    ) -> Result<Self, BucketError> {
        let first = client::client(settings, connector, deadlines, SIGNED, None)?;
        Ok(Self {
            settings,
            connector,
            deadlines,
            credentials: first.credentials().clone(),
        })
    }

    fn requests(&self, manner: Manner) -> Result<Requests, BucketError> {
        let of = |bulk| {
            let (manner, credentials) = (Manner { bulk, ..manner }, self.credentials.clone());
            let credentials = Some(credentials);
            client::client(
                self.settings,
                self.connector,
                self.deadlines,
                manner,
                credentials,
            )
        };
        let prefix = self.settings.location().prefix();
        Ok(Requests::new(of(false)?, of(true)?, self.deadlines, prefix))
    }

    fn hasty(&self) -> Result<Requests, BucketError> {
        self.requests(Manner {
            again: false,
            ..SIGNED
        })
    }
}

/// Looks only whether the bucket can be read.
pub(super) async fn look(
    settings: &S3Settings,
    connector: &Connector,
    deadlines: Deadlines,
) -> Result<Found, BucketError> {
    let clients = Clients::new(settings, connector, deadlines)?;
    let requests = clients.requests(SIGNED)?;
    let listed = list::objects(&requests, "", None, 1).await;
    listed.map_err(|error| explain(doing("list objects", error), settings))?;
    Ok(Found {
        // Nothing is relied on that nobody looked for.
        engine: Engine {
            conditional_writes: false,
            bare_etags: false,
            checksum: Checksum::None,
            versioned: false,
            bulk_delete: false,
        },
        hasty: clients.hasty()?,
        requests,
    })
}

/// Tries everything, and leaves nothing behind.
pub(super) async fn probe(
    settings: &S3Settings,
    connector: &Connector,
    deadlines: Deadlines,
) -> Result<Found, BucketError> {
    let clients = Clients::new(settings, connector, deadlines)?;
    let hasty = clients.hasty()?;
    // Without TLS it is the signature that keeps the bytes from being changed on purpose. With it a checksum is enough, and to
    // reckon SHA-256 over every byte is spared.
    let is_plain = (settings.endpoint.as_ref()).is_some_and(Endpoint::is_plain);
    let announced = clients.requests(Manner {
        announced: true,
        signed: is_plain,
        ..SIGNED
    })?;
    let signed = clients.requests(SIGNED)?;
    let trial = Trial {
        folder: format!("probe/{}", random_name()?),
        signed,
        announced,
        is_plain,
    };
    let tried = trial.all().await;
    let bulk_delete = trial.clean(tried.is_ok()).await;
    let explain = |error| explain(error, settings);
    let (if_match, checksum, versioned) = tried.map_err(explain)?;
    let bulk_delete = bulk_delete.map_err(explain)?;
    let engine = Engine {
        conditional_writes: if_match.is_some(),
        bare_etags: if_match == Some(IfMatch::Bare),
        checksum,
        versioned,
        bulk_delete,
    };
    let requests = trial.requests(checksum);
    Ok(Found {
        engine,
        requests: requests.with_if_match(if_match.unwrap_or(IfMatch::Quoted)),
        hasty,
    })
}

/// Objects of one probe, and how they are sent.
struct Trial {
    folder: String,
    signed: Requests,
    announced: Requests,
    is_plain: bool,
}

/// Names of what a probe may leave.
const NAMES: [&str; 8] = [
    "note",
    "one",
    "many",
    "none",
    "damaged-0",
    "damaged-1",
    "whole",
    "parts",
];
/// Of what is damaged on its way, one for each way to notice it: what one lets through the next must not find.
const DAMAGED: [&str; 2] = ["damaged-0", "damaged-1"];

impl Trial {
    fn key(&self, name: &str) -> String {
        format!("{}-{name}", self.folder)
    }

    /// What is sent with this checksum.
    fn requests(&self, checksum: Checksum) -> &Requests {
        match checksum {
            Checksum::Crc64Nvme => &self.announced,
            Checksum::Sha256 | Checksum::None => &self.signed,
        }
    }

    async fn all(&self) -> Result<(Option<IfMatch>, Checksum, bool), BucketError> {
        let versioned = self.keeps_notes().await?;
        let (conditions, checksum, listed) =
            tokio::join!(self.conditions(), self.checksum(), self.lists());
        listed?;
        let checksum = checksum?;
        self.joins_parts(checksum).await?;
        Ok((conditions?, checksum, versioned))
    }

    /// An object is there when it was put, with its note. Gives whether the bucket gave it a version.
    async fn keeps_notes(&self) -> Result<bool, BucketError> {
        let (key, notes) = (self.key("note"), Notes::default().with(NOTE.0, NOTE.1));
        let body = Bytes::from_static(b"sealslot");
        let put = (self.signed).put(&key, body.clone().into(), &notes, &Condition::Always);
        let put = put.await.map_err(|error| doing("put an object", error))?;
        let got = self.signed.get(&key, MOST).await;
        let got = got.map_err(|error| {
            if error.is_missing() {
                BucketError::Unfit("it does not give back what was just stored")
            } else {
                doing("get an object", error)
            }
        })?;
        if got.bytes != body {
            return Err(BucketError::Unfit(
                "it gives back other bytes than were stored",
            ));
        }
        if got.notes.value(NOTE.0) != Some(NOTE.1) {
            return Err(BucketError::Unfit(
                "it does not keep the metadata of objects",
            ));
        }
        Ok(put.version.is_some_and(|version| version != "null"))
    }

    async fn lists(&self) -> Result<(), BucketError> {
        let (key, before) = (self.key("note"), self.key("nota"));
        let page = list::objects(&self.signed, &key, Some(&before), 2).await;
        let page = page.map_err(|error| doing("list objects", error))?;
        if page.objects.iter().any(|object| object.key == key) {
            Ok(())
        } else {
            Err(BucketError::Unfit("it does not list what was just stored"))
        }
    }

    /// How conditions of writes are kept, and by one write only of several at once. `None` where they are not.
    async fn conditions(&self) -> Result<Option<IfMatch>, BucketError> {
        let creates = async { Ok(self.creates_once().await? && self.creates_one().await?) };
        if !is_kept(creates.await)? {
            return Ok(None);
        }
        for if_match in [IfMatch::Quoted, IfMatch::Bare] {
            let requests = self.signed.with_if_match(if_match);
            let replaces = async {
                Ok(self.replaces(&requests).await? && self.replaces_one(&requests).await?)
            };
            if is_kept(replaces.await)? {
                return Ok(Some(if_match));
            }
        }
        Ok(None)
    }

    async fn creates_once(&self) -> Result<bool, BucketError> {
        let (key, none) = (self.key("one"), Notes::default());
        let [first, second] = ["first", "second"].map(|text| Bytes::from_static(text.as_bytes()));
        let created = told(conditional::create(&self.signed, &key, &first, &none).await)?;
        let again = told(conditional::create(&self.signed, &key, &second, &none).await)?;
        let there = self.signed.get(&key, MOST).await?.bytes;
        Ok(created == Written::Done && again == Written::Not && there == first)
    }

    async fn creates_one(&self) -> Result<bool, BucketError> {
        let (key, none) = (self.key("many"), Notes::default());
        let bodies = bodies("created");
        let creating = bodies
            .iter()
            .map(|body| conditional::create(&self.signed, &key, body, &none));
        self.is_of_one(&key, &bodies, join_all(creating).await)
            .await
    }

    /// Whether one of several writes at once was done, and what it wrote is there.
    async fn is_of_one(
        &self,
        key: &str,
        bodies: &[Bytes],
        written: Vec<Result<Written, BucketError>>,
    ) -> Result<bool, BucketError> {
        let mut winner = None;
        for (written, body) in written.into_iter().zip(bodies) {
            if told(written)? == Written::Done && winner.replace(body).is_some() {
                return Ok(false);
            }
        }
        let there = self.signed.get(key, MOST).await?.bytes;
        Ok(winner == Some(&there))
    }

    async fn replaces(&self, requests: &Requests) -> Result<bool, BucketError> {
        let (key, none) = (self.key("one"), Notes::default());
        let wrong = ETag(WRONG_ETAG.to_owned());
        let before = requests.get(&key, MOST).await?;
        let body = Bytes::from(format!("after {}", before.etag.0));
        let replaced = told(conditional::replace(requests, &key, &wrong, &body, &none).await)?;
        if replaced == Written::Done {
            return Ok(false);
        }
        // Nobody else writes it: a refusal needs no second try.
        let condition = Condition::Still(before.etag.clone());
        let replaced = requests.put(&key, body.clone().into(), &none, &condition);
        match replaced.await {
            // Where an answer was lost, what was written is there.
            Err(error) if error.is_conflict() || error.is_missing() => {}
            replaced => {
                replaced?;
            }
        }
        let after = requests.get(&key, MOST).await?;
        if after.bytes != body || after.etag == before.etag {
            return Ok(false);
        }
        let body = Bytes::from_static(b"late");
        let late = told(conditional::replace(requests, &key, &before.etag, &body, &none).await)?;
        let absent = self.key("none");
        let on_nothing = told(conditional::replace(requests, &absent, &wrong, &body, &none).await)?;
        Ok(late == Written::Not && on_nothing == Written::Not)
    }

    async fn replaces_one(&self, requests: &Requests) -> Result<bool, BucketError> {
        let (key, none) = (self.key("many"), Notes::default());
        let old = requests.head(&key).await?.etag;
        let bodies = bodies(&format!("replaced after {}", old.0));
        let replacing = bodies
            .iter()
            .map(|body| conditional::replace(requests, &key, &old, body, &none));
        self.is_of_one(&key, &bodies, join_all(replacing).await)
            .await
    }

    /// What finds damage on the way. The first that does is what everything is sent with.
    async fn checksum(&self) -> Result<Checksum, BucketError> {
        // What is sent in the clear is signed all the same: what is announced beside it comes on top.
        let candidates = if self.is_plain {
            [Checksum::Sha256, Checksum::Crc64Nvme]
        } else {
            [Checksum::Crc64Nvme, Checksum::Sha256]
        };
        for (checksum, damaged) in candidates.into_iter().zip(DAMAGED) {
            if self.notices(self.requests(checksum), damaged).await? {
                return Ok(checksum);
            }
        }
        Ok(Checksum::None)
    }

    /// Whether what is whole is stored, and what is damaged is not.
    async fn notices(&self, requests: &Requests, damaged: &str) -> Result<bool, BucketError> {
        let body = Bytes::from_static(b"as it was sent");
        let (key, none) = (self.key("whole"), Notes::default());
        let put = requests
            .put(&key, body.clone().into(), &none, &Condition::Always)
            .await;
        match put {
            Ok(_) => {}
            Err(error) if error_ends(&error) => return Err(error),
            Err(_) => return Ok(false),
        }
        let key = self.key(damaged);
        match requests.put_damaged(&key, body).await {
            Ok(()) => Ok(false),
            Err(error) if error_ends(&error) => Err(error),
            // It must not be there all the same.
            Err(_) => match self.signed.head(&key).await {
                Ok(_) => Ok(false),
                Err(error) if error.is_missing() => Ok(true),
                Err(error) => Err(error),
            },
        }
    }

    /// Parts become an object, and others can be dropped.
    async fn joins_parts(&self, checksum: Checksum) -> Result<(), BucketError> {
        let requests = self.requests(checksum);
        let (key, body) = (self.key("parts"), Bytes::from_static(b"in parts"));
        let joined = async {
            let dropped = requests.begin_parts(&key, &Notes::default()).await?;
            requests.abort_parts(&key, &dropped).await?;
            let id = requests.begin_parts(&key, &Notes::default()).await?;
            let part = requests.put_part(&key, &id, 0, body.clone().into()).await?;
            requests.complete_parts(&key, &id, vec![part]).await?;
            requests.get(&key, MOST).await
        };
        let joined = joined
            .await
            .map_err(|error| doing("send objects in parts", error))?;
        if joined.bytes == body {
            Ok(())
        } else {
            Err(BucketError::Unfit(
                "it does not join the parts of an object",
            ))
        }
    }

    /// Removes everything. Gives whether one request does, where it is worth trying.
    async fn clean(&self, tried: bool) -> Result<bool, BucketError> {
        let keys = NAMES.map(|name| self.key(name));
        if tried && self.signed.delete_many(&keys).await.is_ok() {
            match self.signed.head(&keys[0]).await {
                Err(error) if error.is_missing() => return Ok(true),
                _ => {}
            }
        }
        let deleted = join_all(keys.iter().map(|key| self.signed.delete(key))).await;
        for deleted in deleted {
            deleted.map_err(|error| doing("delete an object", error))?;
        }
        Ok(false)
    }
}

/// What can be told of a write here. Nobody writes over another's write where conditions are kept, so what is not there was not done, also
/// where an answer was lost.
fn told(written: Result<Written, BucketError>) -> Result<Written, BucketError> {
    match written {
        Err(BucketError::Unclear) => Ok(Written::Not),
        written => written,
    }
}

/// What several writers write at once, each something else.
fn bodies(what: &str) -> Vec<Bytes> {
    (0..AT_ONCE)
        .map(|n| Bytes::from(format!("{what} by number {n}")))
        .collect()
}

/// Whatever it is that an engine does not like about conditions: without them it may do.
fn is_kept(tried: Result<bool, BucketError>) -> Result<bool, BucketError> {
    match tried {
        Err(error) if !error_ends(&error) => Ok(false),
        tried => tried,
    }
}

/// Whether an error says nothing of what the engine keeps.
fn error_ends(error: &BucketError) -> bool {
    let unsupported = error.is_unsupported();
    (error.is_passing() && !unsupported && !matches!(error, BucketError::Contended))
        || matches!(error, BucketError::Setup(_))
}

fn doing(doing: &'static str, error: BucketError) -> BucketError {
    match error {
        BucketError::Answered(answer) if answer.status == 403 => BucketError::Denied {
            doing,
            // Filled in when it is explained.
            bucket: String::new(),
            answer,
        },
        error => error,
    }
}

/// What to do about the first answers of an engine.
fn explain(error: BucketError, settings: &S3Settings) -> BucketError {
    let bucket = settings.location().bucket().to_owned();
    let (answer, tried) = match error {
        BucketError::Answered(answer) => (answer, "do what a store does"),
        BucketError::Denied { doing, answer, .. } => (answer, doing),
        error => return error,
    };
    let engine = settings.engine_name();
    match (&*answer.code, answer.status) {
        ("NoSuchBucket", _) => BucketError::NoBucket { bucket, engine },
        ("RequestTimeTooSkewed", _) => BucketError::Clock,
        (
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "ExpiredToken"
            | "InvalidClientTokenId",
            _,
        )
        | (_, 401) => BucketError::Credentials { engine, answer },
        _ if is_elsewhere(&answer, &settings.region) => BucketError::Region {
            bucket,
            region: settings.region.clone(),
            right: answer.region,
        },
        (_, 403) => BucketError::Denied {
            doing: tried,
            bucket,
            answer,
        },
        _ => BucketError::Answered(answer),
    }
}

fn is_elsewhere(answer: &Answer, region: &str) -> bool {
    let codes = [
        "AuthorizationHeaderMalformed",
        "PermanentRedirect",
        "TemporaryRedirect",
        "IllegalLocationConstraintException",
    ];
    let named = answer.region.as_ref().is_some_and(|right| right != region);
    codes.contains(&&*answer.code)
        || matches!(answer.status, 301 | 307)
        || (named && answer.status >= 300)
}
