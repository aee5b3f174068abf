//! The routes, parsed into types.

use std::str::FromStr;

use http::Method;

use super::form::percent_decode;
use super::links::LinkToken;
use super::page::PageRoute;
use super::problem::Problem;
use super::resumable::SESSION_METHODS;
use crate::grant::GrantId;
use crate::store::{SealedFile, UploadId};
use crate::upload::{ClientName, UploadUrl};

const READ: &str = "GET, HEAD";

/// Every route, by the name that logs and metrics have for it, with the methods that it answers to, for `Allow`. A test holds each
/// to a table of who gets what (`tests/it/matrix/table.rs`).
pub const ROUTES: &[(&str, &str)] = &[
    ("/", READ),
    ("/welcome", READ),
    ("/ca", READ),
    ("/ca.crt", READ),
    ("/upload.js", READ),
    ("/noble-hashes/{file}", READ),
    ("/icon.svg", READ),
    ("/logo", READ),
    ("/uploads", "GET, HEAD, POST, OPTIONS"),
    ("/uploads/", "POST, PUT, OPTIONS"),
    ("/uploads/{name}", "PUT, OPTIONS"),
    ("/uploads/{id}", "GET, HEAD, PUT, DELETE, OPTIONS"),
    ("/uploads/{id}.{secret}", SESSION_METHODS),
    ("/uploads/{id}/meta.age", "GET, HEAD, PUT"),
    ("/uploads/{id}/{file}", READ),
    ("/d/{token}", "GET, HEAD, POST, PUT, OPTIONS"),
    ("/d/{token}/{name}", "PUT, OPTIONS"),
    ("/d/{token}/recipients", "GET, HEAD, PUT, OPTIONS"),
    ("/links", "GET, HEAD, POST"),
    ("/links/{id}", "GET, HEAD, DELETE"),
    ("*", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    ("/encrypt", "POST"),
    ("/decrypt", "POST"),
    ("/recipients", READ),
    ("/healthz", READ),
    ("/readyz", READ),
    ("/metrics", READ),
];

/// What a path names.
pub(super) enum Route {
    /// What browsers open, and what that loads.
    Page(PageRoute),
    /// `/uploads`
    Uploads,
    /// `/uploads/{name}`, for `PUT`; also `/uploads/`, without a name.
    NamedUpload(Option<ClientName>),
    /// `/uploads/{id}`
    Upload(UploadId),
    /// `/uploads/{id}.{secret}`
    Session(UploadUrl),
    /// `/uploads/{id}/{file}`
    SealedFile(UploadId, SealedFile),
    /// `/d/{token}`, also with a slash behind it.
    Link(LinkToken),
    /// `/d/{token}/{name}`, for `PUT`.
    NamedAtLink(LinkToken, ClientName),
    /// `/d/{token}/recipients`; for `PUT` a name like any other.
    LinkRecipients(LinkToken),
    /// `/links`
    Links,
    /// `/links/{id}`
    LinkById(GrantId),
    /// `*`: the server as a whole, for `OPTIONS`.
    Server,
    /// `/encrypt`
    Encrypt,
    /// `/decrypt`
    Decrypt,
    /// `/recipients`
    Recipients,
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
    /// `/metrics`
    Metrics,
}

impl Route {
    /// Reads a path. A name that has the form of an id is taken for one, whatever the method.
    pub(super) fn of(path: &str) -> Result<Self, Problem> {
        Ok(match path {
            "*" => Self::Server,
            "/uploads" => Self::Uploads,
            "/links" => Self::Links,
            "/encrypt" => Self::Encrypt,
            "/decrypt" => Self::Decrypt,
            "/recipients" => Self::Recipients,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            _ => {
                if let Some(page) = PageRoute::of(path) {
                    return Ok(Self::Page(page));
                }
                if let Some(rest) = path.strip_prefix("/d/") {
                    return Self::below_link(rest);
                }
                if let Some(id) = path.strip_prefix("/links/") {
                    let id = id.parse().map_err(|_| Problem::not_found())?;
                    return Ok(Self::LinkById(id));
                }
                let rest = path
                    .strip_prefix("/uploads/")
                    .ok_or_else(Problem::not_found)?;
                Self::below_uploads(rest)?
            }
        })
    }

    fn below_uploads(rest: &str) -> Result<Self, Problem> {
        if let Some((id, file)) = rest.split_once('/') {
            let id = UploadId::from_str(id).map_err(|_| Problem::not_found())?;
            let file = SealedFile::from_str(file).map_err(|_| Problem::not_found())?;
            return Ok(Self::SealedFile(id, file));
        }
        if let Ok(id) = rest.parse() {
            return Ok(Self::Upload(id));
        }
        if let Ok(url) = rest.parse() {
            return Ok(Self::Session(url));
        }
        let name = percent_decode(rest).map_err(|_| Problem::malformed_path())?;
        Ok(Self::NamedUpload(
            (!name.is_empty()).then(|| ClientName::new(name)),
        ))
    }

    fn below_link(rest: &str) -> Result<Self, Problem> {
        let (token, name) = rest.split_once('/').unwrap_or((rest, ""));
        let link = LinkToken::new(token);
        let name = percent_decode(name).map_err(|_| Problem::malformed_path())?;
        Ok(match &*name {
            b"" => Self::Link(link),
            b"recipients" => Self::LinkRecipients(link),
            _ => Self::NamedAtLink(link, ClientName::new(name)),
        })
    }

    /// The route as logs and metrics call it: never with an id or a name in it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Page(page) => page.name(),
            Self::Uploads => "/uploads",
            Self::NamedUpload(None) => "/uploads/",
            Self::NamedUpload(Some(_)) => "/uploads/{name}",
            Self::Upload(_) => "/uploads/{id}",
            Self::Session(_) => "/uploads/{id}.{secret}",
            Self::SealedFile(_, SealedFile::Meta) => "/uploads/{id}/meta.age",
            Self::SealedFile(_, SealedFile::Segment(_)) => "/uploads/{id}/{file}",
            Self::Link(_) => "/d/{token}",
            Self::NamedAtLink(..) => "/d/{token}/{name}",
            Self::LinkRecipients(_) => "/d/{token}/recipients",
            Self::Links => "/links",
            Self::LinkById(_) => "/links/{id}",
            Self::Server => "*",
            Self::Encrypt => "/encrypt",
            Self::Decrypt => "/decrypt",
            Self::Recipients => "/recipients",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
        }
    }

    /// The methods that it answers to, for `Allow`.
    pub(super) fn methods(&self) -> &'static str {
        let mut routes = ROUTES.iter();
        let listed = routes.find(|(name, _)| *name == self.name());
        listed.map_or(READ, |(_, methods)| methods)
    }

    /// Whether uploads are created or gone on with here.
    pub(super) fn takes_uploads(&self) -> bool {
        matches!(
            self,
            Self::Server
                | Self::Uploads
                | Self::NamedUpload(_)
                | Self::Upload(_)
                | Self::Session(_)
        )
    }

    /// Whether pages of other origins, where they are let in, have a use for it by this method. Lists, what arrived and its deletion
    /// are the admin's, and pages are for who opens them.
    pub(super) fn is_for_other_origins(&self, method: &Method) -> bool {
        match self {
            Self::Session(_)
            | Self::NamedUpload(_)
            | Self::NamedAtLink(..)
            | Self::LinkRecipients(_)
            | Self::Recipients => true,
            Self::Uploads | Self::Link(_) => !matches!(method, &Method::GET | &Method::HEAD),
            Self::Upload(_) => matches!(method, &Method::PUT | &Method::OPTIONS),
            _ => false,
        }
    }

    /// Whether it belongs to running the server rather than to uploads.
    pub(super) fn is_operational(&self) -> bool {
        matches!(self, Self::Health | Self::Ready | Self::Metrics)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    /// A path for every variant: all of them, and the one that leads to a route.
    macro_rules! paths {
        ($($variant:pat => $path:expr,)*) => {
            const PATHS: &[&str] = &[$($path),*];

            fn path_of(route: &Route) -> &'static str {
                match route {
                    $($variant => $path,)*
                }
            }
        };
    }
    paths! {
        Route::Page(PageRoute::Form) => "/",
        Route::Page(PageRoute::Welcome) => "/welcome",
        Route::Page(PageRoute::Authority) => "/ca",
        Route::Page(PageRoute::AuthorityFile) => "/ca.crt",
        Route::Page(PageRoute::Script) => "/upload.js",
        Route::Page(PageRoute::NobleHashes(_)) => "/noble-hashes/sha2.js",
        Route::Page(PageRoute::Icon) => "/icon.svg",
        Route::Page(PageRoute::Logo) => "/logo",
        Route::Uploads => "/uploads",
        Route::NamedUpload(None) => "/uploads/",
        Route::NamedUpload(Some(_)) => "/uploads/name",
        Route::Upload(_) => "/uploads/0000000000000000000000000000000a",
        Route::Session(_) =>
            "/uploads/0000000000000000000000000000000a.0000000000000000000000000000000a",
        Route::SealedFile(_, SealedFile::Meta) => "/uploads/0000000000000000000000000000000a/meta.age",
        Route::SealedFile(_, SealedFile::Segment(_)) =>
            "/uploads/0000000000000000000000000000000a/0000.age",
        Route::Link(_) => "/d/00000000000000000000000000000000",
        Route::NamedAtLink(..) => "/d/00000000000000000000000000000000/name",
        Route::LinkRecipients(_) => "/d/00000000000000000000000000000000/recipients",
        Route::Links => "/links",
        Route::LinkById(_) => "/links/00000000000000000000000000000000",
        Route::Server => "*",
        Route::Encrypt => "/encrypt",
        Route::Decrypt => "/decrypt",
        Route::Recipients => "/recipients",
        Route::Health => "/healthz",
        Route::Ready => "/readyz",
        Route::Metrics => "/metrics",
    }

    #[test]
    fn every_route_is_listed() {
        let routes = PATHS.iter().map(|path| {
            let route =
                Route::of(path).unwrap_or_else(|problem| panic!("{path}: {}", problem.code()));
            assert_eq!(path_of(&route), *path);
            route.name()
        });
        let listed: BTreeSet<_> = ROUTES.iter().map(|(name, _)| *name).collect();
        assert_eq!(routes.collect::<BTreeSet<_>>(), listed);
        assert_eq!(listed.len(), ROUTES.len());
    }

    #[test]
    fn paths_of_links_are_told_apart() {
        let token = "0123456789abcdefghijklmnopqrstuv";
        for (path, name) in [
            (format!("/d/{token}"), "/d/{token}"),
            (format!("/d/{token}/"), "/d/{token}"),
            ("/d/".to_owned(), "/d/{token}"),
            (format!("/d/{token}/recipients"), "/d/{token}/recipients"),
            (format!("/d/{token}/%72ecipients"), "/d/{token}/recipients"),
            (format!("/d/{token}/a%2Fb"), "/d/{token}/{name}"),
            (format!("/d/{token}/a/b"), "/d/{token}/{name}"),
            (format!("/d/{token}//"), "/d/{token}/{name}"),
            ("/links".to_owned(), "/links"),
            (format!("/links/{token}"), "/links/{id}"),
        ] {
            let route = Route::of(&path);
            assert_eq!(route.as_ref().ok().map(Route::name), Some(name), "{path}");
        }
        for path in [
            "/d",
            "/links/",
            "/links/x",
            "/D/x",
            &format!("/links/{token}/"),
        ] {
            assert_eq!(
                Route::of(path).err().map(|problem| problem.code()),
                Some("not-found"),
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_path_panics_and_none_is_in_the_name_of_its_route(
            path in "/(d|uploads|links)/[0-9a-v]{32}(/[ -~]{0,20})?|/[/a-z0-9%.{}]{0,60}|\\PC{0,30}"
        ) {
            if let Ok(route) = Route::of(&path) {
                let name = route.name();
                let parts = path.split('/').filter(|part| part.len() > 12);
                for part in parts {
                    prop_assert!(!name.contains(part), "{}", name);
                }
                prop_assert!(!route.methods().is_empty());
            }
        }
    }
}
