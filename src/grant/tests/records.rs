//! What lets in only as it was written.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// The hash of `sealslot/link/v1 ` and 32 zeros.
const HASH: &str = "6859b4a2d9beb6cd17b788015209fa4d0af53aaf7326b1900bfaeae238b8333c";
const SECRET: &str = "00000000000000000000000000000000";

fn minimal() -> String {
    let used = r#"{"uploads":1,"bytes":2,"fields":0}"#;
    format!(
        r#"{{"v":1,"hash":"{HASH}","created":"2026-11-23T12:00:00Z","used":{used},"reserved":{{}}}}"#
    )
}

fn write(record: &str) -> (TempDir, PathBuf, Links, LinkSecret) {
    let (place, store) = new_store();
    let secret: LinkSecret = SECRET.parse().ok().unwrap();
    let path = place
        .path()
        .join("records/links")
        .join(secret.id().to_string());
    fs::write(&path, record).unwrap();
    (place, path, Links::new(store), secret)
}

#[test]
fn a_record_without_what_came_later_is_read() {
    let (_place, _path, links, secret) = write(&minimal());
    let link = links.find(&secret).unwrap().unwrap();
    assert_eq!((link.used.uploads, link.used.bytes), (1, 2));
    assert_eq!(
        (link.expires, link.max_uploads, &*link.label),
        (None, None, "")
    );
    assert_eq!(link.state(START), LinkState::Open);
}

#[test]
fn a_damaged_record_lets_nothing_in() {
    let sound = minimal();
    let change = |from: &str, to: &str| {
        assert!(sound.contains(from));
        sound.replace(from, to)
    };
    let flipped = HASH.replacen(&HASH[..1], "f", 1);
    let damaged = [
        String::new(),
        "null".to_owned(),
        sound[..sound.len() - 1].to_owned(),
        format!("{sound}{sound}"),
        change(r#""v":1"#, r#""v":2"#),
        change(r#""v":1,"#, ""),
        change(r#""v":1"#, r#""v":1,"max_nights":3"#),
        change(r#""v":1"#, r#""v":1,"max_uploads":-1"#),
        change(r#""v":1"#, r#""v":1,"max_uploads":20,"max_uploads":200"#),
        change(r#""v":1"#, r#""v":1,"expires":"soon""#),
        change(r#""bytes":2"#, r#""bytes":2.5"#),
        change(r#""uploads":1,"#, ""),
        change(HASH, &flipped),
        change(HASH, &HASH.to_uppercase()),
        change(
            "{}",
            r#"{"x":{"what":"file","bytes":1,"until":"2026-11-23T12:00:00Z"}}"#,
        ),
    ];
    for record in damaged {
        let (_place, path, links, secret) = write(&record);
        let id = secret.id();
        let upload = upload();
        let failed = |error: GrantError| {
            let told = error.to_string();
            assert!(told.contains(&format!("links/{id}")), "{told}");
            assert!(matches!(error, GrantError::Damaged { .. }), "{record}");
        };
        let refused = |refused: Refused| match refused {
            Refused::Failed(error) => failed(error),
            refused => panic!("{refused:?}: {record}"),
        };
        failed(links.find(&secret).unwrap_err());
        failed(links.link(&id).unwrap_err());
        let mut listing = links.list().unwrap();
        failed(listing.damaged.pop().unwrap());
        assert!(listing.grants.is_empty() && listing.damaged.is_empty());
        failed(links.revoke(&id, START).unwrap_err());
        failed(links.settle(&id, &upload, 1).unwrap_err());
        failed(links.give_back(&id, &upload).unwrap_err());
        failed(links.sweep(START + 1000 * DAY).unwrap_err());
        let all = |_: &UploadId| Fate::Gone;
        failed(links.reconcile(&id, START, true, &all).unwrap_err());
        let reserved = links.reserve(&id, upload, What::File, 1, START, START);
        refused(reserved.unwrap_err());
        refused(links.grow(&id, &upload, 1).unwrap_err());
        let taken = links.take_over(&id, &[], upload, 1, START);
        refused(taken.unwrap_err());
        assert_eq!(fs::read_to_string(path).unwrap(), record, "as it was");
    }
}

#[test]
fn a_record_under_another_name_lets_nothing_in() {
    let (place, _path, links, secret) = write(&minimal());
    let (other, _) = links.create(NewLink::default(), START).unwrap();
    let folder = place.path().join("records/links");
    let [from, to] = [&other, &secret].map(|secret| folder.join(secret.id().to_string()));
    fs::copy(from, to).unwrap();
    let found = links.find(&secret);
    assert!(matches!(found, Err(GrantError::Damaged { .. })));
    assert!(links.find(&other).unwrap().is_some());
}

#[test]
fn a_damaged_record_keeps_no_other_from_being_swept() {
    let (_place, path, links, _) = write(&minimal());
    for _ in 0..8 {
        let (_, link) = links.create(NewLink::default(), START).unwrap();
        links.revoke(&link.id(), START).unwrap();
    }
    let sound = fs::read_to_string(&path).unwrap();
    fs::write(&path, "x").unwrap();
    let swept = links.sweep(START + 31 * DAY);
    assert!(matches!(swept, Err(GrantError::Damaged { .. })));
    assert_eq!(links.ids().unwrap().len(), 1);
    fs::write(&path, sound).unwrap();
    assert_eq!(links.sweep(START + 31 * DAY).unwrap(), 0);
}

#[test]
fn what_belongs_to_no_link_is_not_listed() {
    let (place, _path, links, _) = write(&minimal());
    let folder = place.path().join("records/links");
    for name in ["not-an-id", "x.new", "README"] {
        fs::write(folder.join(name), "x").unwrap();
    }
    assert_eq!(links.list().unwrap().grants.len(), 1);
}

#[test]
fn a_link_says_only_so_much() {
    let (_place, store) = new_store();
    let links = Links::new(store);
    let new = NewLink {
        label: "x".repeat(300_000),
        ..NewLink::default()
    };
    assert!(matches!(
        links.create(new, START),
        Err(GrantError::TooLarge)
    ));
    assert_eq!(links.list().unwrap().grants, []);
}

#[test]
fn times_that_records_cannot_say_are_the_nearest() {
    let (_place, store) = new_store();
    let links = Links::new(store);
    let new = NewLink {
        expires: START.checked_add(Duration::from_secs(1 << 50)),
        keep: Some(Duration::MAX),
        ..NewLink::default()
    };
    assert!(new.expires.is_some());
    let (secret, link) = links.create(new, START - DAY).unwrap();
    assert_eq!(links.find(&secret).unwrap().unwrap(), link);
    assert_eq!(link.created, START);
    assert_eq!(link.state(START + 10_000 * DAY), LinkState::Open);
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_is_written(
        label in ".{0,40}",
        expires in proptest::option::of(0..253_402_300_799_u64),
        max in proptest::option::of(any::<u64>()),
        keep in proptest::option::of(any::<u64>()),
        used in any::<(u64, u64, u64)>(),
        reserved in prop::collection::vec((any::<u64>(), 0..253_402_300_799_u64), 0..5),
    ) {
        let (_place, _path, links, secret) = write(&minimal());
        let mut link = links.find(&secret).unwrap().unwrap();
        link.label = label;
        link.expires = expires.map(|seconds| START + Duration::from_secs(seconds));
        link.max_bytes = max;
        link.keep = keep.map(Duration::from_secs);
        (link.used.uploads, link.used.bytes, link.used.fields) = used;
        for (bytes, until) in reserved {
            let until = START + Duration::from_secs(until);
            let one = Reservation { what: What::Fields, bytes, until };
            link.reserved.insert(upload(), one);
        }
        let bytes = serde_json::to_vec(&link).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Link>(&bytes).unwrap(), link);
    }
}
