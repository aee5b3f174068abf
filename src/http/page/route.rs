//! What browsers open, and what that loads.

use super::assets::{Asset, ICON_SVG, UPLOAD_JS, noble_hashes};
use super::{AuthorityPage, Reader};
use crate::grant::Scope;
use crate::http::Response;
use crate::http::access;
use crate::http::call::Call;
use crate::http::problem::Problem;

/// What a path names here.
pub(in crate::http) enum PageRoute {
    /// `/`
    Form,
    /// `/welcome`
    Welcome,
    /// `/ca`
    Authority,
    /// `/ca.crt`
    AuthorityFile,
    /// `/upload.js`
    Script,
    /// `/noble-hashes/{file}`
    NobleHashes(&'static Asset),
    /// `/icon.svg`
    Icon,
    /// `/logo`
    Logo,
}

impl PageRoute {
    /// Reads a path; `None` for those that lead elsewhere.
    pub(in crate::http) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Form,
            "/welcome" => Self::Welcome,
            "/ca" => Self::Authority,
            "/ca.crt" => Self::AuthorityFile,
            "/upload.js" => Self::Script,
            "/icon.svg" => Self::Icon,
            "/logo" => Self::Logo,
            _ => Self::NobleHashes(noble_hashes(path.strip_prefix("/noble-hashes/")?)?),
        })
    }

    /// As logs and metrics call it.
    pub(in crate::http) fn name(&self) -> &'static str {
        match self {
            Self::Form => "/",
            Self::Welcome => "/welcome",
            Self::Authority => "/ca",
            Self::AuthorityFile => "/ca.crt",
            Self::Script => "/upload.js",
            Self::NobleHashes(_) => "/noble-hashes/{file}",
            Self::Icon => "/icon.svg",
            Self::Logo => "/logo",
        }
    }

    /// The answer to `GET`.
    pub(in crate::http) async fn respond(&self, call: Call<'_>) -> Result<Response, Problem> {
        let Call { app, head, .. } = call;
        let asset = match self {
            Self::Form => {
                // A browser asks for the token now, and not after the files were chosen and sent.
                access::identify(call, Scope::Upload).await?;
                return Ok(Reader::of(app, head).form());
            }
            Self::Welcome => {
                let welcome = Reader::of(app, head).welcome();
                return welcome.ok_or_else(Problem::not_found);
            }
            Self::Authority => {
                let page = Reader::of(app, head).authority();
                return page.ok_or_else(Problem::not_found);
            }
            Self::AuthorityFile => {
                let authority = app.pages.authority.as_ref();
                return authority
                    .map(AuthorityPage::file)
                    .ok_or_else(Problem::not_found);
            }
            Self::Script => &*UPLOAD_JS,
            Self::NobleHashes(asset) => asset,
            Self::Icon => &*ICON_SVG,
            Self::Logo => app.pages.logo.as_ref().ok_or_else(Problem::not_found)?,
        };
        Ok(asset.respond(head))
    }
}
