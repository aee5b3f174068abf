//! Who asks.

use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use sealslot::grant::{Scope, Tokens};

use crate::client_certificates::{Authority, Client};
use crate::program::Bench;

/// The callers of the server that asks for a token or a certificate, in the order of the table. Nobody; somebody with a wrong token,
/// an expired or revoked one for admins, a link's token in its place; with a token to upload, to read, for everything; with one of
/// the files of tokens; with a certificate, also without scopes or revoked; and, beside a certificate that may do everything, with a
/// wrong token or one to read.
pub(super) const CLOSED: [&str; 17] = [
    "none", "wrong", "expir", "revok", "link", "upl", "read", "admin", "fupl", "fadm", "cupl",
    "cread", "cadm", "cnone", "crev", "+wrong", "+read",
];
/// Those who differ most.
pub(super) const FEW: [&str; 5] = ["none", "wrong", "read", "cadm", "crev"];
/// Those of the server that takes uploads from anyone.
pub(super) const OPEN: [&str; 4] = ["none", "wrong", "read", "admin"];
/// Those of the listener for operations: nobody is enough.
pub(super) const OPERATIONS: [&str; 1] = ["ops"];

/// Somebody.
pub(super) struct Caller {
    pub(super) name: &'static str,
    /// The value of `Authorization`.
    pub(super) authorization: Option<String>,
    /// The name of the certificate; empty without one.
    pub(super) certificate: &'static str,
}

/// The certificates of clients, made once.
pub(super) struct Certificates {
    pub(super) authority: Authority,
    pub(super) clients: Vec<(&'static str, Client)>,
}

impl Certificates {
    pub(super) fn new() -> Self {
        let authority = Authority::new("authority");
        let names = [
            "upload.example",
            "read.example",
            "admin.example",
            "none.example",
            "revoked.example",
        ];
        let clients = names.into_iter().zip(1..);
        let clients = clients.map(|(name, number)| (name, authority.issue(name, number)));
        Self {
            clients: clients.collect(),
            authority,
        }
    }

    /// Lets a server that runs in this bench know them: its settings.
    pub(super) fn settings(&self, bench: &Bench) -> Vec<&'static str> {
        bench.write("clients.pem", self.authority.pem());
        let revoked = u64::try_from(self.clients.len()).unwrap();
        self.authority.publish(bench, "revoked.pem", &[revoked]);
        let scopes = [
            "upload.example=upload",
            "read.example=read",
            "admin.example=admin",
            "revoked.example=admin",
        ];
        let mut settings = vec!["--client-ca", "clients.pem", "--client-crl", "revoked.pem"];
        settings.extend(scopes.iter().flat_map(|scope| ["--client-scope", scope]));
        settings
    }
}

/// The tokens that are good at one server, and those that are not any more.
pub(super) struct Credentials {
    pub(super) upload: String,
    pub(super) read: String,
    pub(super) admin: String,
    expired: String,
    revoked: String,
    pub(super) file_upload: String,
    pub(super) file_admin: String,
    /// The token of a link that is open.
    pub(super) link: String,
}

impl Credentials {
    pub(super) const FILES: [&str; 2] = [
        "a-token-that-uploads-alone",
        "a-token-that-may-do-everything",
    ];

    /// Makes tokens where the servers of this bench keep them.
    pub(super) fn new(bench: &Bench) -> Self {
        let tokens = Tokens::new(bench.records());
        let now = SystemTime::now();
        let hour = Duration::from_hours(1);
        let create = |name: &str, scope: Scope, expires: Option<SystemTime>| {
            let made = tokens.create(name.parse().unwrap(), scope.into(), expires, now - 2 * hour);
            made.unwrap().0.to_text().to_string()
        };
        let revoked = create("revoked", Scope::Admin, None);
        tokens.revoke("revoked", now).unwrap();
        Self {
            upload: create("upload", Scope::Upload, Some(now + hour)),
            read: create("read", Scope::Read, Some(now + hour)),
            admin: create("admin", Scope::Admin, None),
            expired: create("expired", Scope::Admin, Some(now - hour)),
            revoked,
            file_upload: Self::FILES[0].to_owned(),
            file_admin: Self::FILES[1].to_owned(),
            link: String::new(),
        }
    }

    /// All that nobody may read in an answer.
    pub(super) fn secrets(&self) -> [&str; 7] {
        [
            &self.upload,
            &self.read,
            &self.admin,
            &self.expired,
            &self.revoked,
            &self.file_upload,
            &self.file_admin,
        ]
    }

    /// The caller of this name.
    pub(super) fn caller(&self, name: &'static str) -> Caller {
        let bearer = |token: &str| Some(format!("Bearer {token}"));
        let wrong = bearer("sst_00000000000000000000000000000000");
        let (authorization, certificate) = match name {
            "none" | "ops" => (None, ""),
            "wrong" => (wrong, ""),
            "expir" => (bearer(&self.expired), ""),
            "revok" => (bearer(&self.revoked), ""),
            "link" => (bearer(&format!("sst_{}", self.link)), ""),
            "upl" => (bearer(&self.upload), ""),
            "read" => (bearer(&self.read), ""),
            "admin" => (bearer(&self.admin), ""),
            "fupl" => (bearer(&self.file_upload), ""),
            // As browsers send it.
            "fadm" => {
                let password = BASE64.encode(format!("me:{}", self.file_admin).as_bytes());
                (Some(format!("Basic {password}")), "")
            }
            "cupl" => (None, "upload.example"),
            "cread" => (None, "read.example"),
            "cadm" => (None, "admin.example"),
            "cnone" => (None, "none.example"),
            "crev" => (None, "revoked.example"),
            "+wrong" => (wrong, "admin.example"),
            "+read" => (bearer(&self.read), "admin.example"),
            _ => panic!("{name}"),
        };
        Caller {
            name,
            authorization,
            certificate,
        }
    }
}
