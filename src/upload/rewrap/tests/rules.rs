//! What is refused, and by which rule.

use super::*;

/// An upload of two segments, and what it looks like.
struct Site {
    bench: Bench,
    id: UploadId,
    meta: Vec<u8>,
    headers: Vec<Vec<u8>>,
}

impl Site {
    async fn new() -> Self {
        let bench = Bench::new();
        let id = bench.upload(&[b"one", b"two"], Terms::default()).await;
        Self {
            meta: bench.meta(&id),
            headers: bench.headers(&id),
            bench,
            id,
        }
    }

    /// New headers that would be taken.
    fn made(&self, full: bool) -> Rewrapped {
        let headers = full.then_some(&self.headers[..]);
        let (keys, to) = ([identity(OLD)], [recipient(NEW)]);
        rewrap_headers(&self.meta, headers, &self.id, &keys, &to).unwrap()
    }

    #[track_caller]
    fn refused(&self, new: &Rewrapped) -> RewrapRule {
        // Straight, and not over a wire: what was taken apart wrongly would be refused there already.
        let old = Sha256::digest(&self.meta).into();
        match self.bench.uploads.rewrap(&self.id, &old, new) {
            Err(RewrapError::Refused(rule)) => rule,
            Err(error) => panic!("{error:?}"),
            Ok(()) => panic!("it was taken"),
        }
    }

    #[track_caller]
    fn is_as_it_was(&self) {
        assert_eq!(self.bench.meta(&self.id), self.meta);
        assert_eq!(self.bench.headers(&self.id), self.headers);
        assert_eq!(self.bench.open(&self.id, OLD).unwrap(), b"onetwo");
    }
}

fn only_meta(meta: Vec<u8>) -> Rewrapped {
    Rewrapped {
        meta,
        segments: None,
    }
}

/// A `meta.age` with so many of these records.
fn sealed_with(record: &[u8], records: usize, recipients: &[Recipient]) -> Vec<u8> {
    let stanza = Stanza {
        args: vec![RECORD_STANZA.to_owned()],
        body: record.to_vec(),
    };
    seal::seal(recipients, &vec![stanza; records], b"anything").unwrap()
}

#[tokio::test]
async fn a_manifest_that_breaks_a_rule_is_refused_and_changes_nothing() {
    let site = Site::new().await;
    let to = [recipient(NEW)];
    let record = serde_json::to_value(site.bench.record(&site.id)).unwrap();
    let text = |record: &serde_json::Value| serde_json::to_vec(record).unwrap();
    let refused = |meta| site.refused(&only_meta(meta));

    let header = RewrapRule::Header(SealedFile::Meta);
    assert_eq!(refused(b"nothing".to_vec()), header);
    assert_eq!(refused(Vec::new()), header);
    let cut = site.made(false).meta;
    let (_, new_start) = Header::parse(&cut).unwrap().unwrap();
    assert_eq!(refused(cut[..new_start].to_vec()), RewrapRule::Meta);
    assert_eq!(refused(cut[..cut.len() - 1].to_vec()), RewrapRule::Meta);
    assert_eq!(refused([&cut[..], b"x"].concat()), RewrapRule::Meta);
    assert_eq!(refused(vec![b'x'; (16 << 20) + 1]), RewrapRule::Meta);
    for records in [0, 2] {
        let meta = sealed_with(&text(&record), records, &to);
        assert_eq!(refused(meta), RewrapRule::NoRecord);
    }
    let garbled = sealed_with(b"{\"v\":1}", 1, &to);
    assert_eq!(refused(garbled), RewrapRule::NoRecord);
    // Each key of it, and one more.
    for (key, value) in [
        ("id", serde_json::json!("0".repeat(32))),
        ("time", serde_json::json!("2020-01-01T00:00:00Z")),
        ("link", serde_json::json!("0".repeat(32))),
        ("expires", serde_json::json!("2020-01-01T00:00:00Z")),
        ("files", serde_json::json!([])),
        ("more", serde_json::json!(null)),
    ] {
        let mut changed = record.clone();
        changed[key] = value;
        let meta = sealed_with(&text(&changed), 1, &to);
        assert_eq!(refused(meta), RewrapRule::Record, "{key}");
    }
    // With the record alone nobody could open it; a passphrase is for files of another kind.
    let good = site.made(false).meta;
    let find = |what: &[u8]| {
        good.windows(what.len())
            .position(|bytes| bytes == what)
            .unwrap()
    };
    let (first, second) = (find(b"-> X25519"), find(b"-> sealslot/record"));
    let nobody = [&good[..first], &good[second..]].concat();
    let mut passphrase = good.clone();
    passphrase[first + 3..first + 9].copy_from_slice(b"scrypt");
    for meta in [nobody, passphrase] {
        let recipients = RewrapRule::Recipients(SealedFile::Meta);
        assert_eq!(refused(meta), recipients);
    }
    site.is_as_it_was();
}

#[tokio::test]
async fn headers_that_break_a_rule_are_refused_and_change_nothing() {
    let site = Site::new().await;
    let segment = SealedFile::Segment;
    let full = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut new = site.made(true);
        change(new.segments.as_mut().unwrap());
        site.refused(&new)
    };
    let count = |headers| RewrapRule::Count {
        headers,
        segments: 2,
    };
    assert_eq!(full(&|segments| drop(segments.pop())), count(1));
    assert_eq!(
        full(&|segments| segments.push(segments[0].clone())),
        count(3)
    );
    assert_eq!(
        full(&|segments| segments.swap(0, 1)),
        RewrapRule::Nonce(segment(0))
    );
    assert_eq!(
        full(&|segments| *segments[1].last_mut().unwrap() ^= 1),
        RewrapRule::Nonce(segment(1))
    );
    // Other headers than those that the record was made for.
    assert_eq!(
        full(&|segments| segments.clone_from(&site.headers)),
        RewrapRule::Record
    );
    // Segments that stay, with a record for others.
    let changed = only_meta(site.made(true).meta);
    assert_eq!(site.refused(&changed), RewrapRule::Record);
    // With one header too many, meta.age itself is taken for one, and what is behind it for meta.age.
    let bytes = site.made(true).to_bytes();
    let torn = Rewrapped::from_bytes(&bytes, 3).unwrap();
    assert_eq!(site.refused(&torn), count(3));
    let header = RewrapRule::Header(segment(3));
    assert_eq!(Rewrapped::from_bytes(&bytes, 4).err(), Some(header));
    let many = Rewrapped::from_bytes(&bytes, 10_001).err();
    assert!(matches!(many, Some(RewrapRule::Count { .. })));
    site.is_as_it_was();
}

#[tokio::test]
async fn without_the_right_key_or_id_nothing_is_made() {
    let bench = Bench::new();
    let id = bench.upload(&[b"one"], Terms::default()).await;
    let other = bench.upload(&[b"one"], Terms::default()).await;
    let (meta, headers) = (bench.meta(&id), bench.headers(&id));
    let to = [recipient(NEW)];
    let [old, strange] = [OLD, NEW].map(|key| [identity(key)]);
    let made = |headers: Option<&[Vec<u8>]>, id: &UploadId, keys: &[Identity], to: &[Recipient]| {
        rewrap_headers(&meta, headers, id, keys, to).err().unwrap()
    };
    assert!(matches!(
        made(None, &id, &strange, &to),
        RewrapError::Read(ReadError::Open { .. })
    ));
    assert!(matches!(
        made(None, &other, &old, &to),
        RewrapError::Read(ReadError::Exchanged)
    ));
    assert!(matches!(
        rewrap_headers(&meta, None, &id, &old, &[]).err().unwrap(),
        RewrapError::Seal(SealError::NoRecipients)
    ));
    assert!(matches!(
        rewrap_headers(&meta, Some(&[]), &id, &old, &to)
            .err()
            .unwrap(),
        RewrapError::Refused(RewrapRule::Count { .. })
    ));
    // A header that is not the segment's own.
    let foreign = bench.headers(&other);
    assert!(matches!(
        made(Some(&foreign), &id, &old, &to),
        RewrapError::Read(ReadError::Open {
            source: OpenError::Mac,
            ..
        })
    ));
    let cut = [headers[0][..headers[0].len() - 1].to_vec()];
    assert!(matches!(
        made(Some(&cut), &id, &old, &to),
        RewrapError::Read(ReadError::Open { .. })
    ));
}
