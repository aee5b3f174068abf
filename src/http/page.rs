//! Pages for people: the form, the receipt, and what went wrong, in the language of who reads them. They work without
//! JavaScript and without anything from elsewhere.

mod assets;
mod authority;
mod colour;
mod form;
mod gzip;
mod languages;
mod link;
mod logo;
mod problem;
mod qr;
mod receipt;
mod route;
mod settings;
mod sizes;
mod welcome;

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use flate2::Compression;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, REFERRER_POLICY,
    VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use assets::{Asset, ICON_SVG, UPLOAD_JS};
pub use authority::AuthorityPage;
pub use colour::Colour;
use languages::{LANGUAGES, Language};
pub(super) use link::{LinkPage, LinkPageError, settings as link_settings};
pub use logo::{Logo, LogoError, MAX_LOGO};
pub use qr::QrDrawing;
pub(super) use route::PageRoute;
pub use settings::{PageSettingError, PageSettings, PageText, PageTitle, TextField};
pub use welcome::{Phone, Welcome};

use super::create::Submission;
use super::{App, Response, respond_with};
use crate::keys::NamedRecipient;

/// What is called by no other name.
const TITLE: &str = "Sealslot";

/// What only documents have a use for: a window that opened this one, or is opened by it, has no hold on it; and what no page
/// here ever asks for cannot be asked for.
const OF_PAGES: [(HeaderName, &str); 2] = [
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=()",
    ),
];

/// What all pages have in common, decided at start.
pub struct Pages {
    settings: PageSettings,
    /// `/logo`
    logo: Option<Asset>,
    /// The first page of a development server. None elsewhere.
    pub welcome: Option<Welcome>,
    /// The development authority, where phones may have it.
    pub authority: Option<AuthorityPage>,
    style: String,
    /// `Content-Security-Policy`: the style sheet by its hash, scripts from here alone and none that is made of text.
    policy: HeaderValue,
}

impl Pages {
    /// Puts it together.
    pub fn new(settings: PageSettings, logo: Option<Logo>) -> Self {
        let colour = settings.colour.map(Colour::style).unwrap_or_default();
        let style = assets::STYLE.to_owned() + &colour;
        Self {
            settings,
            logo: logo.map(|logo| Asset::new(logo.content_type, logo.bytes)),
            welcome: None,
            authority: None,
            policy: policy(&style),
            style,
        }
    }
}

fn policy(style: &str) -> HeaderValue {
    let hash = BASE64.encode(&Sha256::digest(style));
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'sha256-{hash}'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    );
    HeaderValue::try_from(policy).expect("base64 fits in a header")
}

/// Who a page is for: the language of the request, and what pages have in common.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    app: &'a App,
    language: &'static Language,
    takes_gzip: bool,
    /// The first page of a development server, where it is this reader's.
    welcome: Option<&'a Welcome>,
    place: Place<'a>,
}

/// Where a reader is.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// At the server's own page.
    Server,
    /// At a link, which has a page of its own.
    Link(&'a LinkPage),
    /// At a link that leads nowhere, or nowhere any more.
    DeadLink,
}

impl<'a> Reader<'a> {
    /// Whoever sent this request.
    pub(super) fn of(app: &'a App, head: &Parts) -> Self {
        Self {
            app,
            language: languages::of(head.uri.query(), &head.headers),
            welcome: app
                .pages
                .welcome
                .as_ref()
                .filter(|_| welcome::is_of_this_machine(head)),
            takes_gzip: gzip::is_accepted(&head.headers),
            place: Place::Server,
        }
    }

    /// The same, who came by a link.
    pub(super) fn at(mut self, link: Option<&'a LinkPage>) -> Self {
        if let Some(link) = link {
            self.place = Place::Link(link);
        }
        self
    }

    fn link(self) -> Option<&'a LinkPage> {
        match self.place {
            Place::Link(link) => Some(link),
            Place::Server | Place::DeadLink => None,
        }
    }

    /// Whom the form is for: what the link says, or else the server.
    fn form_title(self) -> Option<&'a PageTitle> {
        let own = self.link().and_then(|link| link.settings.title.as_ref());
        own.or(self.app.pages.settings.title.as_ref())
    }

    fn form_text(self) -> Option<&'a PageText> {
        let own = self.link().and_then(|link| link.settings.text.as_ref());
        own.or(self.app.pages.settings.text.as_ref())
    }

    /// The text fields of the form: the link's, where it has some.
    fn fields(self) -> &'a [TextField] {
        let own = self.link().map(|link| &*link.settings.fields);
        own.filter(|fields| !fields.is_empty())
            .unwrap_or(&self.app.pages.settings.fields)
    }

    /// What the text fields of the form are called.
    pub(super) fn field_names(self) -> Vec<String> {
        let fields = self.fields().iter();
        fields.map(|field| field.name.clone()).collect()
    }

    /// The keys that everything is sealed to which is sent here.
    fn recipients(self) -> Arc<[NamedRecipient]> {
        let own = self.link().map(|link| &link.recipients);
        own.filter(|keys| !keys.is_empty())
            .map_or_else(|| self.app.uploads.named_recipients(), Arc::clone)
    }

    /// Bytes that one file may have.
    fn max_file(self) -> u64 {
        let own = self.link().and_then(|link| link.max_file);
        self.app.limits.max_size.min(own.unwrap_or(u64::MAX))
    }

    /// `GET /` and `GET /d/{token}`: the form.
    pub(super) fn form(self) -> Response {
        let content = form::content(self);
        let mut title = form::title(self);
        // A configured one is in it.
        if self.form_title().is_none() {
            title = self.titled(&title);
        }
        let mut response = if self.takes_gzip {
            // In the first round trip even of a slow start. A receipt is not compressed: it holds what a client sent.
            let page = gzip::compressed(
                self.document(&title, &content).as_bytes(),
                Compression::fast(),
            );
            let mut response = self.respond(page);
            let headers = response.headers_mut();
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        } else {
            self.respond(self.document(&title, &content))
        };
        let headers = response.headers_mut();
        // With `no-referrer` a browser would send the form from the origin `null`, which is nobody's. At a link nobody asks for the
        // origin, and the address is a secret.
        if self.link().is_none() {
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        }
        // Going back to it restores the files that were chosen.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.insert(
            VARY,
            HeaderValue::from_static("Accept-Language, Accept-Encoding"),
        );
        response
    }

    /// `GET /welcome`: how to go on from here; `None` where it is not this reader's.
    pub(super) fn welcome(self) -> Option<Response> {
        let welcome = self.welcome?;
        let title = &self.language.welcome.title;
        Some(self.page(title, &welcome::content(self, welcome)))
    }

    /// `GET /ca`: the development authority for phones, in English alone; `None` where it is not handed out.
    pub(super) fn authority(mut self) -> Option<Response> {
        let authority = self.app.pages.authority.as_ref()?;
        self.language = &LANGUAGES[0];
        Some(self.page(authority::TITLE, &authority::content(authority)))
    }

    /// The receipt of what was sent from a browser.
    pub(super) fn receipt(self, submission: &Submission) -> Response {
        let title = &self.language.receipt.heading;
        self.page(title, &receipt::content(self, submission))
    }

    /// What went wrong.
    pub(super) fn problem(mut self, code: &str, detail: &str) -> Response {
        if link::IS_DEAD.contains(&code) {
            self.place = Place::DeadLink;
        }
        let (title, content) = problem::content(self, code, detail);
        self.page(title, &content)
    }

    /// What the page is called, with its language where that is not the reader's.
    fn title(self) -> (&'a str, Option<&'a str>) {
        let title = self.form_title();
        title.map_or((TITLE, None), |title| title.within(self.language))
    }

    /// Where the form is. Nothing, and so the address that was asked for, where there is none.
    fn form_address(self) -> &'a str {
        match self.place {
            Place::Server => "/",
            Place::Link(link) => link.address(),
            Place::DeadLink => "",
        }
    }

    /// Where the form is, in this language.
    fn home(self) -> String {
        format!("{}?lang={}", self.form_address(), self.language.tag)
    }

    /// A title with what the page is called.
    fn titled(self, title: &str) -> String {
        format!("{title} · {}", self.title().0)
    }

    /// A whole page.
    fn page(self, title: &str, content: &Content) -> Response {
        self.respond(self.document(&self.titled(title), content))
    }

    fn respond(self, page: impl Into<Bytes>) -> Response {
        let mut response = respond_with("text/html; charset=utf-8", page);
        self.add_headers(response.headers_mut());
        response
    }

    fn document(self, title: &str, content: &Content) -> String {
        let language = self.language;
        let pages = &self.app.pages;
        let page = html! {
            (DOCTYPE)
            html lang=(language.tag) dir=(language.dir) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    title { (title) }
                    link rel="icon" href=(ICON_SVG.address("/icon.svg"));
                    // The policy names it by its hash, so it holds nothing from outside.
                    style { (PreEscaped(&pages.style)) }
                    @if content.scripted {
                        script type="module" src=(UPLOAD_JS.address("/upload.js")) {}
                    }
                }
                body {
                    (self.header(content))
                    main id="main" { (content.main) }
                    (content.after)
                }
            }
        };
        page.into_string()
    }

    fn header(self, content: &Content) -> Markup {
        let others = LANGUAGES
            .iter()
            .filter(|other| other.tag != self.language.tag);
        let logo = match &self.app.pages.logo {
            Some(logo) => logo.address("/logo"),
            None => ICON_SVG.address("/icon.svg"),
        };
        let (title, tag) = self.title();
        html! {
            header {
                a.brand href=(self.home()) {
                    img.logo src=(logo) alt="";
                    " " span lang=[tag] { (title) }
                }
                @if let Some(address) = &content.address {
                    nav.languages aria-label=(self.language.page.language) {
                        @for other in others {
                            a href={ (address) "?lang=" (other.tag) } hreflang=(other.tag) lang=(other.tag) dir=(other.dir) {
                                (other.name)
                            }
                        }
                    }
                }
                @if content.leads_to_welcome {
                    p.development {
                        a href={ "/welcome?lang=" (self.language.tag) } { (self.language.page.development) }
                    }
                }
            }
        }
    }

    fn add_headers(self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_SECURITY_POLICY, self.app.pages.policy.clone());
        headers.insert(VARY, HeaderValue::from_static("Accept-Language, Accept"));
        for (name, value) in OF_PAGES {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
            .extend(HeaderValue::try_from(&self.language.tag).map(|tag| (CONTENT_LANGUAGE, tag)));
    }
}

/// What is in a page.
#[derive(Default)]
struct Content {
    main: Markup,
    /// What the script needs, behind everything that people see.
    after: Markup,
    scripted: bool,
    /// Where the same is in other languages. A receipt is nowhere else.
    address: Option<String>,
    leads_to_welcome: bool,
}
