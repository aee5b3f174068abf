//! What the audit log is told of requests. What becomes of uploads, it sees by itself (`crate::audit`): here is who read,
//! deleted and was refused.

use std::sync::OnceLock;

use http::request::Parts;
use http::{Method, StatusCode};

use super::call::Call;
use super::problem::Problem;
use super::resumable::{creates, effective_method};
use super::route::Route;
use super::{App, Response};
use crate::audit::{Actor, Entry, Event, LinkId};
use crate::store::UploadId;

/// What is found out of a request on its way to an answer.
pub(super) struct Facts {
    /// What it does where it succeeds.
    event: Option<Event>,
    upload: Option<UploadId>,
    /// Whether its path holds a secret, so that a wrong one is somebody's guess.
    secret: bool,
    by: OnceLock<Actor>,
    link: OnceLock<LinkId>,
    /// Whether a line tells of it already.
    told: OnceLock<()>,
}

impl Facts {
    pub(super) fn of(route: &Result<Route, Problem>, head: &Parts) -> Self {
        let (event, upload) = match (route, &head.method) {
            (Ok(Route::Uploads), &Method::GET) if !creates(head) => (Some(Event::Read), None),
            (Ok(Route::Links), &Method::POST) => (Some(Event::LinkCreated), None),
            (Ok(Route::LinkById(_)), &Method::DELETE) => (Some(Event::LinkRevoked), None),
            (Ok(Route::Upload(id) | Route::SealedFile(id, _)), &Method::GET) => {
                (Some(Event::Read), Some(*id))
            }
            (Ok(Route::Upload(id)), &Method::DELETE) => (Some(Event::Deleted), Some(*id)),
            (Ok(Route::SealedFile(id, _)), &Method::PUT) => (Some(Event::Rewrapped), Some(*id)),
            (Ok(Route::Session(url)), _) => {
                let cancels = effective_method(head) == Some(Method::DELETE);
                (cancels.then_some(Event::Cancelled), Some(*url.id()))
            }
            _ => (None, None),
        };
        Self {
            event,
            upload,
            secret: matches!(
                route,
                Ok(Route::Session(_)
                    | Route::Link(_)
                    | Route::NamedAtLink(..)
                    | Route::LinkRecipients(_))
            ),
            by: OnceLock::new(),
            link: OnceLock::new(),
            told: OnceLock::new(),
        }
    }

    /// Who it is from.
    pub(super) fn are_of(&self, who: &str) {
        let _ = self.by.set(Actor::new(who));
    }

    /// Which link it is about, by its public id.
    pub(super) fn are_about_link(&self, id: &str) {
        if let Some(id) = LinkId::new(id) {
            let _ = self.link.set(id);
        }
    }

    /// What it did has its line: where it succeeds, it needs no other.
    pub(super) fn are_told(&self) {
        let _ = self.told.set(());
    }

    /// Whether this is somebody who may not, or may not so much. Mistakes are no refusals.
    fn is_refusal(&self, status: StatusCode) -> bool {
        match status {
            StatusCode::NOT_FOUND => self.secret,
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::GONE
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INSUFFICIENT_STORAGE => true,
            _ => false,
        }
    }
}

impl Call<'_> {
    /// Writes down what became of the request, where that is worth a line.
    pub(super) fn record(self, route: &'static str, answer: &Result<Response, Problem>) {
        let (Some(audit), facts) = (&self.app.audit, self.facts) else {
            return;
        };
        let entry = |event, upload| Entry {
            by: facts.by.get().cloned(),
            address: Some(self.peer.address),
            link: facts.link.get().cloned(),
            upload,
            route: Some(route),
            ..Entry::new(event)
        };
        match (answer, facts.event) {
            (Ok(response), Some(event))
                if response.status().is_success() && facts.told.get().is_none() =>
            {
                audit.append(entry(event, facts.upload));
            }
            (Err(problem), _) if facts.is_refusal(problem.status()) => {
                // Of a path that led nowhere nothing is kept: what looks like an id may be a token in the wrong place.
                let known = facts.secret && problem.status() != StatusCode::NOT_FOUND;
                audit.append_refusal(Entry {
                    status: Some(problem.status().as_u16()),
                    code: Some(problem.code()),
                    ..entry(Event::Refused, facts.upload.filter(|_| known))
                });
            }
            _ => {}
        }
    }
}

impl App {
    /// Nothing is taken in that no line could tell of.
    pub(super) fn check_audit(&self) -> Result<(), Problem> {
        match &self.audit {
            Some(audit) if audit.is_failing() => Err(Problem::audit_unavailable()),
            _ => Ok(()),
        }
    }
}
