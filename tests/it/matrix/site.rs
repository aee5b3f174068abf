//! A server with everything that the table names.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;
use sealslot::grant::{Links, NewLink};
use sealslot::store::{Collection, LocalRecords};

use super::callers::{Caller, Certificates, Credentials};
use super::exchange::Lines;
use super::row::{Row, Stock};
use crate::client::{Answer, Protocol};
use crate::program::Bench;
use crate::server::{Server, text};
use crate::store::in_bucket;

/// A server, what it holds, and the connections to it.
pub(super) struct Site<'a> {
    bench: &'a Bench,
    pub(super) server: Server<'a>,
    pub(super) lines: Lines,
    pub(super) credentials: Credentials,
    admin: Caller,
    /// An upload, by its id.
    upload: String,
    /// Upload URLs: one that was begun by each protocol, one that is finished, and one whose secret is tried elsewhere.
    sessions: BTreeMap<&'static str, String>,
    /// The tokens of links, by their states, and the id of one that is open.
    links: BTreeMap<&'static str, String>,
    link: String,
    /// Something that was sealed to the server's key.
    pub(super) sealed: String,
}

impl<'a> Site<'a> {
    /// Asks for a token or a certificate, and holds a private key.
    pub(super) fn closed(
        bench: &'a Bench,
        certificates: &Certificates,
        protocol: Protocol,
    ) -> Self {
        let settings = [
            "--metrics-listen",
            "127.0.0.1:0",
            "--page-logo",
            "logo.svg",
            "--identity",
            "key",
        ];
        bench.write("logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
        Self::start(bench, &settings, certificates, protocol)
    }

    /// Takes uploads from anyone, and holds no private key.
    pub(super) fn open(bench: &'a Bench, certificates: &Certificates, protocol: Protocol) -> Self {
        let recipient = Bench::recipient_text();
        let settings = ["--allow-anonymous", "--recipient", &recipient];
        Self::start(bench, &settings, certificates, protocol)
    }

    fn start(
        bench: &'a Bench,
        settings: &[&str],
        certificates: &Certificates,
        protocol: Protocol,
    ) -> Self {
        let [uploads, admin] = Credentials::FILES;
        bench.write_private("upload.tokens", uploads);
        bench.write_private("admin.token", admin);
        let tokens = [
            "--upload-token-file",
            "upload.tokens",
            "--admin-token-file",
            "admin.token",
            "--log",
            "debug",
        ];
        let server = Server::start(
            bench,
            &[settings, &tokens, &certificates.settings(bench)].concat(),
            &[],
        );
        let credentials = Credentials::new(bench);
        let mut site = Self {
            bench,
            lines: Lines::new(server.address, &server.ca(), certificates, protocol),
            admin: credentials.caller("admin"),
            server,
            credentials,
            upload: String::new(),
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            link: String::new(),
            sealed: String::new(),
        };
        site.make_links();
        site.upload = site.new_upload();
        for (name, how) in [
            ("tus", "tus"),
            ("draft", "draft"),
            ("another's", "tus"),
            ("finished", "tus with body"),
        ] {
            let session = site.new_session("/uploads", how);
            site.sessions.insert(name, session);
        }
        let sealed = site.as_admin("POST", "/encrypt", &["data"]).is(200);
        site.sealed = sealed.text();
        site
    }

    /// A request of whoever may do everything.
    fn as_admin(&mut self, method: &str, path: &str, how: &[&str]) -> Answer {
        let method: Method = method.parse().unwrap();
        let request = super::requests::request(&method, path, how, &self.admin, "data");
        let said = self.lines.ask(self.admin.certificate, request, true);
        said.unwrap().answer
    }

    fn new_upload(&mut self) -> String {
        text(
            &self
                .as_admin("PUT", "/uploads/report.txt", &["raw"])
                .receipt()["id"],
        )
    }

    fn new_session(&mut self, endpoint: &str, how: &str) -> String {
        let answer = self.as_admin("POST", endpoint, &[how]).is(201);
        answer.header("location").to_owned()
    }

    /// Makes links in every state, and uploads that come through some.
    fn make_links(&mut self) {
        let links = Links::new(self.bench.records());
        let elsewhere = LocalRecords::open(&self.bench.path("elsewhere")).unwrap();
        let elsewhere = Links::new(Arc::new(elsewhere));
        let (now, hour) = (SystemTime::now(), Duration::from_hours(1));
        let create = |links: &Links, expires: Option<SystemTime>, max_uploads: Option<u64>| {
            let new = NewLink {
                expires,
                max_uploads,
                ..NewLink::default()
            };
            let (secret, link) = links.create(new, now - 2 * hour).unwrap();
            (secret.to_text().to_string(), link.id())
        };
        let (open, id) = create(&links, Some(now + hour), None);
        let (revoked, revoked_id) = create(&links, None, None);
        let made = [
            ("another", create(&links, None, None).0),
            ("expired", create(&links, Some(now - hour), None).0),
            ("used up", create(&links, None, Some(1)).0),
            ("unknown", create(&elsewhere, None, None).0),
            ("malformed", "no-token".to_owned()),
            ("revoked", revoked),
            ("open", open.clone()),
        ];
        self.links = made.into();
        self.link = id.to_string();
        self.credentials.link = open;

        let used_up = format!("/d/{}", self.links["used up"]);
        self.as_admin("PUT", &used_up, &["raw"]).is(201);
        for (name, link, how) in [
            ("link's", "open", "tus"),
            ("another link's", "another", "tus"),
            ("tus of a revoked link", "revoked", "tus"),
            ("draft of a revoked link", "revoked", "draft"),
        ] {
            let session = self.new_session(&format!("/d/{}", self.links[link]), how);
            self.sessions.insert(name, session);
        }
        links.revoke(&revoked_id, now).unwrap();
    }

    /// The path to ask for; of something new of its kind, where that is wanted.
    pub(super) fn path(&mut self, row: &Row, fresh: bool) -> String {
        let unknown = "0".repeat(32);
        match row.route {
            "/noble-hashes/{file}" => "/noble-hashes/sha2.js".to_owned(),
            "/uploads/{name}" => "/uploads/report.txt".to_owned(),
            "/uploads/{id}" if row.is("unknown") => format!("/uploads/{unknown}"),
            "/uploads/{id}" if fresh => format!("/uploads/{}", self.new_upload()),
            "/uploads/{id}" => format!("/uploads/{}", self.upload),
            "/uploads/{id}/{file}" if row.is("unknown") => {
                format!("/uploads/{}/0001.age", self.upload)
            }
            "/uploads/{id}/{file}" => format!("/uploads/{}/0000.age", self.upload),
            "/uploads/{id}/meta.age" if row.is("unknown") => format!("/uploads/{unknown}/meta.age"),
            "/uploads/{id}/meta.age" => format!("/uploads/{}/meta.age", self.upload),
            "/uploads/{id}.{secret}" => self.session_path(row, fresh),
            "/d/{token}" => self.link_path(row),
            "/d/{token}/{name}" if row.is("upload URL") => {
                let (_, url) = self.sessions["link's"].rsplit_once('/').unwrap();
                format!("{}/{url}", self.link_path(row))
            }
            "/d/{token}/{name}" => self.link_path(row) + "/report.txt",
            "/d/{token}/recipients" => self.link_path(row) + "/recipients",
            "/links/{id}" if row.is("unknown") => format!("/links/{unknown}"),
            "/links/{id}" if fresh => {
                let made = self.as_admin("POST", "/links", &["json"]).is(201);
                made.header("location").to_owned()
            }
            "/links/{id}" => format!("/links/{}", self.link),
            path => path.to_owned(),
        }
    }

    fn link_path(&self, row: &Row) -> String {
        let mut links = self.links.iter();
        let named = links.find(|(state, _)| row.is(state));
        let token = named.map_or(&self.links["open"], |(_, token)| token);
        format!("/d/{token}")
    }

    fn session_path(&mut self, row: &Row, fresh: bool) -> String {
        let protocol = if row.is("draft") { "draft" } else { "tus" };
        if fresh {
            return self.new_session("/uploads", protocol);
        }
        let both = |id: &str, secret: &str| {
            let (id, _) = id.split_once('.').unwrap();
            let (_, secret) = secret.split_once('.').unwrap();
            format!("{id}.{secret}")
        };
        let session = |name: &str| &self.sessions[name];
        if row.is("unknown") {
            both(session(protocol), &format!(".{}", "0".repeat(32)))
        } else if row.is("another's") {
            both(session(protocol), session("another's"))
        } else if row.is("another link's") {
            both(session("link's"), session("another link's"))
        } else if row.is("of a revoked link") {
            session(&format!("{protocol} of a revoked link")).clone()
        } else if row.is("finished") {
            session("finished").clone()
        } else {
            session(protocol).clone()
        }
    }

    /// What no answer may tell, unless it is asked for by it.
    pub(super) fn secrets(&self) -> Vec<&str> {
        let sessions = self
            .sessions
            .values()
            .map(|url| url.split_once('.').unwrap().1);
        self.credentials
            .secrets()
            .into_iter()
            .chain(sessions)
            .collect()
    }

    /// What is stored.
    pub(super) fn holdings(&self) -> Holdings {
        if in_bucket() {
            return self.holdings_of_bucket();
        }
        let mut holdings = Holdings::default();
        let data = self.bench.path("data");
        let mut folders = vec![data.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let (path, metadata) = (entry.path(), entry.metadata().unwrap());
                let name = path.strip_prefix(&data).unwrap().to_str().unwrap();
                // What happens to an upload happens to its folder.
                let is_upload = name.starts_with("uploads/") && name.matches('/').count() == 2;
                if metadata.is_dir() && !is_upload {
                    folders.push(path);
                } else if !name.starts_with("records/locks/") {
                    // Those are made when a record is first looked at.
                    let state = (metadata.ino(), metadata.len(), metadata.modified().unwrap());
                    holdings.0.insert(name.to_owned(), state);
                }
            }
        }
        holdings
    }

    /// The same, by the names that it would have in a folder.
    fn holdings_of_bucket(&self) -> Holdings {
        let mut holdings = Holdings::default();
        let mut hold = |name: String, state| {
            holdings.0.insert(name, (state, 0, SystemTime::UNIX_EPOCH));
        };
        for id in self.bench.shelf().ids(None, 100_000).unwrap() {
            hold(
                format!("uploads/{}/{id}", id.day()),
                self.bench.manifest_state(&id),
            );
        }
        for id in self.bench.sessions() {
            hold(format!("sessions/{id}.head"), 0);
        }
        let records = self.bench.records();
        for collection in [Collection::Links, Collection::Tokens] {
            for name in records.records(collection).unwrap() {
                let bytes = records.record(collection, &name).unwrap_or_default();
                let mut hasher = DefaultHasher::new();
                bytes.hash(&mut hasher);
                let name = format!("records/{}/{name}", collection.name());
                hold(name, hasher.finish());
            }
        }
        holdings
    }
}

/// The uploads and files of a data folder by their names, each with what changes when it does.
#[derive(Default, PartialEq)]
pub(super) struct Holdings(BTreeMap<String, (u64, u64, SystemTime)>);

impl Holdings {
    /// How much there is.
    pub(super) fn stock(&self) -> Stock {
        let count = |folder: &str, end: &str| {
            let mut names = self.0.keys();
            let of_these = |name: &&String| name.starts_with(folder) && name.ends_with(end);
            i64::try_from(names.by_ref().filter(of_these).count()).unwrap()
        };
        Stock {
            uploads: count("uploads/", ""),
            sessions: count("sessions/", ".head"),
            links: count("records/links/", ""),
        }
    }
}
