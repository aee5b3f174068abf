//! What the tus resumable upload protocol 1.0.0 and its extensions demand of a server: a module for each part of it, a
//! test for each demand, named after the section. Some tests hold us to more than that: to what we promise.

mod checksum;
mod concatenation;
mod core_protocol;
mod creation;
mod creation_with_upload;
mod expiration;
mod termination;

use data_encoding::BASE64;

use crate::client::Answer;
use crate::resumable::Client;

/// What a body is labelled with.
pub(crate) const OCTETS: (&str, &str) = ("content-type", "application/offset+octet-stream");

pub(crate) const EXTENSIONS: [&str; 8] = [
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "checksum-trailer",
    "termination",
    "concatenation",
];

/// `Upload-Metadata` of these keys and values.
pub(crate) fn metadata(pairs: &[(&str, &[u8])]) -> String {
    let pairs = pairs.iter();
    let pairs = pairs.map(|(key, value)| format!("{key} {}", BASE64.encode(value)));
    pairs.collect::<Vec<_>>().join(",")
}

impl Client<'_> {
    /// A tus request; its answer says so, whatever it is.
    #[track_caller]
    pub(crate) fn tus(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let headers = [&[("tus-resumable", "1.0.0")], headers].concat();
        let answer = self.request(method, path, &headers, body);
        assert_eq!(answer.header("tus-resumable"), "1.0.0");
        answer
    }

    /// Creates an upload without content; gives its URL.
    #[track_caller]
    pub(crate) fn tus_create(&self, headers: &[(&str, &str)]) -> String {
        let answer = self.tus("POST", "/uploads", headers, b"").is(201);
        answer.header("location").to_owned()
    }

    #[track_caller]
    pub(crate) fn tus_new(&self, length: usize) -> String {
        self.tus_create(&[("upload-length", &length.to_string())])
    }

    #[track_caller]
    pub(crate) fn tus_patch(&self, url: &str, offset: usize, body: &[u8]) -> Answer {
        self.tus_patch_with(url, offset, &[], body)
    }

    #[track_caller]
    pub(crate) fn tus_patch_with(
        &self,
        url: &str,
        offset: usize,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let offset = offset.to_string();
        let headers = [&[OCTETS, ("upload-offset", &offset)], headers].concat();
        self.tus("PATCH", url, &headers, body)
    }

    #[track_caller]
    pub(crate) fn tus_head(&self, url: &str) -> Answer {
        self.tus("HEAD", url, &[], b"").is(200)
    }

    #[track_caller]
    pub(crate) fn tus_offset(&self, url: &str) -> usize {
        self.tus_head(url).header("upload-offset").parse().unwrap()
    }

    /// The headers of a `PATCH` of which not all is sent at once.
    #[track_caller]
    pub(crate) fn tus_begin(
        &self,
        url: &str,
        offset: usize,
        headers: &[(&str, &str)],
    ) -> crate::flight::Flight {
        let offset = offset.to_string();
        let all = [
            &[
                ("tus-resumable", "1.0.0"),
                OCTETS,
                ("upload-offset", &offset),
            ],
            headers,
        ];
        self.begin("PATCH", url, &all.concat())
    }
}

/// The members of a comma-separated list.
#[track_caller]
fn list(answer: &Answer, name: &str) -> Vec<String> {
    let members = answer.header(name).split(',');
    members.map(|member| member.trim().to_owned()).collect()
}

/// What `OPTIONS` says of the server.
#[track_caller]
fn options(client: &Client<'_>) -> Answer {
    client.request("OPTIONS", "/uploads", &[], b"").is(204)
}

#[track_caller]
fn extensions(client: &Client<'_>) -> Vec<String> {
    list(&options(client), "tus-extension")
}
