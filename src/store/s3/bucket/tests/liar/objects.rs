//! What the small engine does with objects.

use std::fmt::Write;

use data_encoding::{BASE64, HEXLOWER};
use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::*;

impl State {
    pub(super) fn answer(
        &mut self,
        method: &Method,
        key: &str,
        query: &BTreeMap<String, String>,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Answer {
        let upload = query.get("uploadId");
        match (method, upload) {
            (&Method::PUT, Some(id)) => self.put_part(id, &query["partNumber"], headers, body),
            (&Method::PUT, None) => self.put(key, headers, body),
            (&Method::POST, Some(id)) => self.complete(key, id),
            (&Method::POST, None) if query.contains_key("uploads") => self.begin(),
            (&Method::POST, None) => self.delete_many(&body),
            (&Method::DELETE, Some(id)) => match self.uploads.remove(id) {
                Some(_) => Response::new(Full::default()),
                None => failure(404, "NoSuchUpload"),
            },
            (&Method::DELETE, None) => {
                if let Some((_, appears)) = self.lies.appears.take_if(|(gone, _)| gone == key) {
                    self.store(&appears, Bytes::from_static(b"sealed"), Vec::new());
                }
                self.objects.remove(key);
                Response::new(Full::default())
            }
            (&Method::GET, _) if key.is_empty() => self.list(query),
            _ => self.get(key, headers, method == Method::HEAD),
        }
    }

    fn put(&mut self, key: &str, headers: &HeaderMap, body: Bytes) -> Answer {
        let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        if let Some(source) = value("x-amz-copy-source") {
            if self.lies.has_no_copy {
                return failure(501, "NotImplemented");
            }
            let source = source
                .trim_start_matches('/')
                .strip_prefix("bucket/")
                .unwrap();
            let Some(object) = self.objects.get(source).cloned() else {
                return failure(404, "NoSuchKey");
            };
            self.objects.insert(key.to_owned(), object);
            return xml("<CopyObjectResult><ETag>\"x\"</ETag></CopyObjectResult>".to_owned());
        }
        if !self.is_whole(headers, &body) {
            return failure(400, "XAmzContentSHA256Mismatch");
        }
        let there = self.objects.get(key).map(|object| &*object.etag);
        let bare = self.lies.compares_bare;
        let there = there.map(|etag| if bare { etag.trim_matches('"') } else { etag });
        let fails = value("if-none-match").is_some() && there.is_some()
            || value("if-match").is_some_and(|etag| there != Some(etag));
        if fails && !self.lies.ignores_conditions {
            return failure(412, "PreconditionFailed");
        }
        let notes = headers
            .iter()
            .filter(|_| !self.lies.forgets_notes)
            .filter_map(|(name, value)| {
                let name = name.as_str();
                let fits = name.starts_with("x-amz-meta-");
                fits.then(|| (name.to_owned(), value.to_str().unwrap().to_owned()))
            });
        let notes = notes.collect();
        let etag = self.store(key, body, notes);
        let mut answer = Response::new(Full::default());
        answer.headers_mut().insert("etag", etag.parse().unwrap());
        if self.lies.keeps_versions {
            let version = self.writes.to_string().parse().unwrap();
            answer.headers_mut().insert("x-amz-version-id", version);
        }
        answer
    }

    /// Whether a body is what was said of it, or that is not looked at.
    fn is_whole(&mut self, headers: &HeaderMap, body: &Bytes) -> bool {
        let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        let sha = HEXLOWER.encode(&Sha256::digest(body));
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, body);
        let crc = BASE64.encode(&crc.to_be_bytes());
        let signed = value("x-amz-content-sha256").filter(|sent| *sent != "UNSIGNED-PAYLOAD");
        let announced = value("x-amz-checksum-crc64nvme");
        self.announced += u64::from(announced.is_some() && signed.is_none());
        let is_whole =
            signed.is_none_or(|sent| sent == sha) && announced.is_none_or(|sent| sent == crc);
        is_whole || self.lies.ignores_damage
    }

    fn store(&mut self, key: &str, body: Bytes, notes: Vec<(String, String)>) -> String {
        self.writes += 1;
        let etag = format!("\"{:032x}\"", self.writes);
        let object = Stored {
            body,
            notes,
            etag: etag.clone(),
            modified: SystemTime::now(),
        };
        self.objects.insert(key.to_owned(), object);
        etag
    }

    fn get(&self, key: &str, headers: &HeaderMap, only_head: bool) -> Answer {
        let Some(object) = self.objects.get(key) else {
            return failure(404, "NoSuchKey");
        };
        let size = object.body.len();
        let mut answer = Response::builder()
            .header("etag", &object.etag)
            .header("last-modified", httpdate::fmt_http_date(object.modified));
        for (name, value) in &object.notes {
            answer = answer.header(name, value);
        }
        if only_head {
            let answer = answer.header("content-length", size);
            return answer.body(Full::default()).unwrap();
        }
        let Some(range) = headers.get("range") else {
            return answer.body(Full::from(object.body.clone())).unwrap();
        };
        let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let from: usize = from.parse().unwrap();
        if from >= size {
            return failure(416, "InvalidRange");
        }
        let to = size.min(to.parse::<usize>().unwrap() + 1);
        let answer = answer.status(206);
        let answer = answer.header("content-range", format!("bytes {from}-{}/{size}", to - 1));
        answer
            .body(Full::from(object.body.slice(from..to)))
            .unwrap()
    }

    fn list(&self, query: &BTreeMap<String, String>) -> Answer {
        let value = |name: &str| query.get(name).map_or("", String::as_str);
        let (prefix, after) = (
            value("prefix"),
            value("start-after").max(value("continuation-token")),
        );
        let most: usize = value("max-keys").parse().unwrap();
        if let Some(answer) = self.lies.listing.answer(prefix, after, most) {
            return answer;
        }
        let (mut contents, mut last, mut found) = (String::new(), String::new(), 0);
        let mut more = false;
        for (key, object) in self.objects.range(after.to_owned()..) {
            if !key.starts_with(prefix) || key <= &after.to_owned() {
                continue;
            }
            let folder = key[prefix.len()..]
                .split_once('/')
                .filter(|_| value("delimiter") == "/");
            let folder = folder.map(|(name, _)| format!("{prefix}{name}/"));
            if folder
                .as_ref()
                .is_some_and(|folder| last.starts_with(&**folder))
            {
                last.clone_from(key);
                continue;
            }
            if found == most {
                more = true;
                break;
            }
            found += 1;
            last.clone_from(key);
            match folder {
                Some(folder) => {
                    write!(contents, "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>")
                }
                None => write!(
                    contents,
                    "<Contents><Key>{key}</Key><Size>{}</Size><ETag>{}</ETag><LastModified>{}</LastModified></Contents>",
                    object.body.len(),
                    object.etag,
                    humantime::format_rfc3339_seconds(object.modified),
                ),
            }
            .unwrap();
        }
        let token = if more {
            format!("<NextContinuationToken>{last}</NextContinuationToken>")
        } else {
            String::new()
        };
        xml(format!(
            "<ListBucketResult>{contents}{token}</ListBucketResult>"
        ))
    }

    fn begin(&mut self) -> Answer {
        self.writes += 1;
        let id = format!("upload-{}", self.writes);
        self.uploads.insert(id.clone(), BTreeMap::new());
        xml(format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ))
    }

    fn put_part(&mut self, id: &str, number: &str, headers: &HeaderMap, body: Bytes) -> Answer {
        if !self.is_whole(headers, &body) {
            return failure(400, "XAmzContentSHA256Mismatch");
        }
        let Some(parts) = self.uploads.get_mut(id) else {
            return failure(404, "NoSuchUpload");
        };
        parts.insert(number.parse().unwrap(), body);
        let mut answer = Response::new(Full::default());
        answer
            .headers_mut()
            .insert("etag", "\"part\"".parse().unwrap());
        answer
    }

    fn complete(&mut self, key: &str, id: &str) -> Answer {
        let Some(parts) = self.uploads.remove(id) else {
            return failure(404, "NoSuchUpload");
        };
        let whole = parts.into_values().collect::<Vec<_>>().concat();
        let etag = self.store(key, whole.into(), Vec::new());
        xml(format!(
            "<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"
        ))
    }

    fn delete_many(&mut self, body: &Bytes) -> Answer {
        if self.lies.has_no_bulk_delete {
            return failure(501, "NotImplemented");
        }
        let text = std::str::from_utf8(body).unwrap();
        let mut deleted = String::new();
        for part in text.split("<Key>").skip(1) {
            let (key, _) = part.split_once("</Key>").unwrap();
            self.objects.remove(key);
            write!(deleted, "<Deleted><Key>{key}</Key></Deleted>").unwrap();
        }
        xml(format!("<DeleteResult>{deleted}</DeleteResult>"))
    }
}
