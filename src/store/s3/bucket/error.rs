//! Why an engine did not do what it was asked.

use std::error::Error;
use std::fmt;
use std::io;

use crate::store::StoreError;

/// Why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(in crate::store::s3) enum BucketError {
    /// Nobody is there, or somebody who cannot show that it is the engine.
    #[error(
        "cannot connect to the engine; check its address, that it runs, and which certificate authority is trusted"
    )]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// Nothing happened for too long.
    #[error("the engine took too long to answer")]
    TimedOut,
    /// The connection did not last.
    #[error("the connection to the engine broke")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// It did not answer the last times, and is asked again only now and then.
    #[error("the engine has not answered for a while, and is asked again about once a second")]
    Resting,
    /// It refuses, or cannot.
    #[error("the engine answered {0}")]
    Answered(Answer),
    /// More than there is room for.
    #[error("the engine's answer is longer than the {0} bytes that it should have at most")]
    TooLong(u64),
    /// Nothing that S3 knows.
    #[error("the engine's answer is none of S3")]
    Malformed(#[source] Box<dyn Error + Send + Sync>),
    /// The requests cannot be made.
    #[error("cannot make requests")]
    Setup(#[source] Box<dyn Error + Send + Sync>),
    /// Others have the lock, one after the other.
    #[error("other servers kept writing the same object; try again")]
    Contended,
    /// An answer was lost, and what was written then may have been changed by another server since.
    #[error(
        "the engine's answer to a write was lost, and another server has written since; try again"
    )]
    Unclear,
    /// What was written to come back does not.
    #[error("{0}; a store cannot be built on this engine")]
    Unfit(&'static str),
    /// There is no such bucket.
    #[error(
        "there is no bucket {bucket} at {engine}; create it, or correct its name or --store-endpoint"
    )]
    NoBucket {
        /// Its name.
        bucket: String,
        /// Where it was looked for.
        engine: String,
    },
    /// Not known there, or with another secret.
    #[error(
        "{engine} does not accept the credentials ({answer}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role they come from"
    )]
    Credentials {
        /// Who said it.
        engine: String,
        /// What was said.
        answer: Answer,
    },
    /// Known, and not allowed to.
    #[error(
        "the credentials may not {doing} in the bucket {bucket} ({answer}); allow them to list the bucket, and to get, put and delete its objects, and to abort multipart uploads"
    )]
    Denied {
        /// What was tried.
        doing: &'static str,
        /// Where.
        bucket: String,
        /// What was said.
        answer: Answer,
    },
    /// Signed for another region.
    #[error("the bucket {bucket} is in another region than {region}{}; set --store-region (or AWS_REGION) to its region", hint(right.as_deref()))]
    Region {
        /// Its name.
        bucket: String,
        /// What was taken for its region.
        region: String,
        /// What the engine says it is.
        right: Option<String>,
    },
    /// Signatures are good for minutes.
    #[error(
        "the clock of this machine and that of the engine differ by more than the engine accepts; set the clock"
    )]
    Clock,
}

fn hint(region: Option<&str>) -> String {
    region.map_or_else(String::new, |region| format!(", in {region}"))
}

/// An answer that is none of success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store::s3) struct Answer {
    pub(super) status: u16,
    /// S3's name of the error; empty where it has none.
    pub(super) code: String,
    /// In which region the bucket is, where the engine says that.
    pub(super) region: Option<String>,
    /// Whether an attempt before it, of the same call, came to no answer that says what was done.
    pub(super) after_doubt: bool,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if self.code.is_empty() {
            return Ok(());
        }
        write!(f, " {}", self.code)
    }
}

impl Answer {
    /// Reads an answer's body as far as it tells what failed.
    pub(super) fn new(status: u16, body: &[u8], region: Option<&str>) -> Self {
        let name = |text: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (1..=64).contains(&text.len()) && text.bytes().all(fits)
        };
        let text = String::from_utf8_lossy(body);
        let element = |begin: &str, end: &str| {
            let (_, rest) = text.split_once(begin)?;
            let (inside, _) = rest.split_once(end)?;
            name(inside).then(|| inside.to_owned())
        };
        let region = region.filter(|region| name(region)).map(str::to_owned);
        Self {
            status,
            code: element("<Code>", "</Code>").unwrap_or_default(),
            region: region.or_else(|| element("<Region>", "</Region>")),
            after_doubt: false,
        }
    }

    /// Whether the engine may do it when it is asked again.
    pub(super) fn is_passing(&self) -> bool {
        let codes = ["InternalError", "ServiceUnavailable", "SlowDown"];
        (self.status >= 500 && self.status != 501)
            || matches!(self.status, 408 | 429)
            || codes.contains(&&*self.code)
    }

    /// Whether it was not done, nor will be. Who says that it is busy, or that there is no room, has not begun; and Ceph has no other name
    /// for what was cancelled since another write came first, which of several at once is most of them.
    pub(super) fn is_definite(&self) -> bool {
        (400..500).contains(&self.status) && self.status != 408
            || self.is_full()
            || matches!(&*self.code, "SlowDown" | "UnknownError")
    }

    fn is_full(&self) -> bool {
        let codes = [
            "StorageFull",
            "QuotaExceeded",
            "InsufficientStorage",
            "NoSpace",
        ];
        self.status == 507 || codes.iter().any(|code| self.code.contains(code))
    }
}

impl BucketError {
    /// The answer, where there was one.
    pub(super) fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answered(answer) => Some(answer),
            _ => None,
        }
    }

    /// The status of the answer; 0 where there was none.
    pub(super) fn status(&self) -> u16 {
        self.answer().map_or(0, |answer| answer.status)
    }

    /// Whether what was asked for is not there. A bucket that is not there is something else.
    pub(super) fn is_missing(&self) -> bool {
        (self.answer()).is_some_and(|answer| answer.status == 404 && answer.code != "NoSuchBucket")
    }

    /// Whether the condition of a write was not met, or another write was under way.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self.status(), 409 | 412 | 304)
    }

    /// Whether the engine has no such request.
    pub(super) fn is_unsupported(&self) -> bool {
        self.answer().is_some_and(|answer| {
            matches!(answer.status, 405 | 501)
                || answer.code == "NotImplemented"
                || answer.code == "MethodNotAllowed"
        })
    }

    /// Whether it was refused for good: nothing was done, nor will be.
    pub(super) fn is_refusal(&self) -> bool {
        self.answer().is_some_and(|answer| {
            answer.is_definite()
                && !answer.after_doubt
                && (answer.is_full() || !answer.is_passing())
        })
    }

    /// Whether an attempt before it came to no answer that says what was done.
    pub(super) fn is_after_doubt(&self) -> bool {
        self.answer().is_some_and(|answer| answer.after_doubt)
    }

    /// The same where something may have been done before it.
    pub(super) fn in_doubt(mut self) -> Self {
        if let Self::Answered(answer) = &mut self {
            answer.after_doubt = true;
        }
        self
    }

    /// Whether it may go well later, without anybody doing anything.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Connect(_)
            | Self::TimedOut
            | Self::Broken(_)
            | Self::Resting
            | Self::Contended
            | Self::Unclear => true,
            Self::Answered(answer) => answer.is_passing(),
            _ => false,
        }
    }

    /// As an error of the store, of an attempt to do something with an object.
    pub(super) fn into_store(self, doing: &'static str, place: &str) -> StoreError {
        if self.is_missing() {
            return StoreError::NotFound;
        }
        if self.answer().is_some_and(Answer::is_full) {
            let source = io::Error::new(io::ErrorKind::StorageFull, self);
            return StoreError::Full { source };
        }
        let passing = self.is_passing();
        let source = Box::new(self);
        if passing {
            return StoreError::Unavailable { source };
        }
        let place = place.to_owned();
        StoreError::Refused {
            doing,
            place,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> BucketError {
        BucketError::Answered(Answer::new(status, body.as_bytes(), None))
    }

    #[test]
    fn an_answer_is_read_as_far_as_it_is_one() {
        let body = "<?xml version=\"1.0\"?><Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-north-1</Region></Error>";
        let answer = Answer::new(400, body.as_bytes(), None);
        assert_eq!(answer.to_string(), "400 AuthorizationHeaderMalformed");
        assert_eq!(answer.region.as_deref(), Some("eu-north-1"));
        let answer = Answer::new(301, body.as_bytes(), Some("us-west-2"));
        assert_eq!(answer.region.as_deref(), Some("us-west-2"));
        for body in [
            "",
            "<Code>",
            "<Code></Code>",
            "<Code>a b</Code>",
            "<Code>\u{e9}</Code>",
            "</Code><Code>",
        ] {
            assert_eq!(
                Answer::new(400, body.as_bytes(), Some("a\nb")).to_string(),
                "400",
                "{body}"
            );
        }
        assert_eq!(Answer::new(500, &[0xff; 100], None).code, "");
    }

    #[test]
    fn some_failures_leave_open_what_was_done() {
        let answer = |status, body: &str| Answer::new(status, body.as_bytes(), None);
        for (answer, is_definite) in [
            (answer(412, "<Code>PreconditionFailed</Code>"), true),
            (answer(503, "<Code>SlowDown</Code>"), true),
            (answer(500, "<Code>UnknownError</Code>"), true),
            (answer(507, ""), true),
            (answer(500, "<Code>InternalError</Code>"), false),
            (answer(503, ""), false),
            (answer(408, ""), false),
        ] {
            assert_eq!(answer.is_definite(), is_definite, "{answer}");
        }
    }

    #[test]
    fn errors_of_an_engine_become_those_of_a_store() {
        let store = |error: BucketError| error.into_store("read", "s3://b/k");
        assert!(matches!(
            store(answered(404, "<Code>NoSuchKey</Code>")),
            StoreError::NotFound
        ));
        let no_bucket = store(answered(404, "<Code>NoSuchBucket</Code>"));
        assert!(matches!(no_bucket, StoreError::Refused { .. }));
        assert!(matches!(
            store(answered(403, "")),
            StoreError::Refused { .. }
        ));
        assert!(matches!(
            store(BucketError::TooLong(5)),
            StoreError::Refused { .. }
        ));
        for error in [
            answered(503, "<Code>SlowDown</Code>"),
            answered(500, ""),
            answered(429, ""),
            answered(200, "<Error><Code>SlowDown</Code></Error>"),
            BucketError::TimedOut,
            BucketError::Resting,
            BucketError::Unclear,
        ] {
            assert!(matches!(store(error), StoreError::Unavailable { .. }));
        }
        for error in [
            answered(507, "<Code>XMinioStorageFull</Code>"),
            answered(403, "<Code>QuotaExceeded</Code>"),
        ] {
            assert!(matches!(store(error), StoreError::Full { .. }));
        }
    }
}
