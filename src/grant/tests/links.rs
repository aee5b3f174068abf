use super::*;

fn links() -> (TempDir, Links) {
    let (place, store) = new_store();
    (place, Links::new(store))
}

fn limited(uploads: u64, bytes: u64) -> NewLink {
    NewLink {
        max_uploads: Some(uploads),
        max_bytes: Some(bytes),
        ..NewLink::default()
    }
}

fn reserve(links: &Links, id: &GrantId, upload: UploadId, bytes: u64) -> Result<(), Refused> {
    links.reserve(id, upload, What::File, bytes, START + HOUR, START)
}

#[test]
fn a_link_is_found_by_its_secret_and_by_its_id() {
    let (place, links) = links();
    let new = NewLink {
        label: "for a client".to_owned(),
        expires: Some(START + DAY),
        max_uploads: Some(20),
        max_bytes: Some(5 << 30),
        max_file: Some(1 << 30),
        types: vec!["image/*".parse().unwrap()],
        extensions: vec!["pdf".to_owned()],
        page: LinkPage {
            title: Some("Papers".into()),
            text: Some(serde_json::json!({"en": "Thank you", "ko": "감사합니다"})),
            fields: vec!["case=Case number".into()],
        },
        recipients: vec!["ssh-rsa AAAA".to_owned()],
        keep: Some(30 * DAY),
    };
    let (secret, link) = links.create(new, START).unwrap();
    assert_eq!(links.find(&secret).unwrap().unwrap(), link);
    assert_eq!(links.link(&secret.id()).unwrap().unwrap(), link);
    assert_eq!(link.id(), secret.id());
    assert_eq!(links.list().unwrap().grants, [link]);
    let (other, _) = links.create(NewLink::default(), START + HOUR).unwrap();
    assert_eq!(
        links.list().unwrap().grants[0].id(),
        other.id(),
        "newest first"
    );

    // Nothing of the secret is kept.
    let text = secret.to_text();
    for file in std::fs::read_dir(place.path().join("records/links")).unwrap() {
        let path = file.unwrap().path();
        assert!(!path.to_str().unwrap().contains(&**text));
        let record = std::fs::read_to_string(path).unwrap();
        assert!(!record.contains(&**text), "{record}");
    }
}

#[test]
fn a_link_goes_through_its_states() {
    let (_place, links) = links();
    let new = NewLink {
        expires: Some(START + DAY),
        ..limited(1, 100)
    };
    let (_, link) = links.create(new, START).unwrap();
    let id = link.id();
    let state = |now| links.link(&id).unwrap().unwrap().state(now);
    assert_eq!(state(START), LinkState::Open);
    let upload = upload();
    reserve(&links, &id, upload, 10).unwrap();
    assert_eq!(state(START), LinkState::Open, "it may be given back");
    links.settle(&id, &upload, 10).unwrap();
    assert_eq!(state(START), LinkState::UsedUp);
    assert_eq!(state(START + DAY), LinkState::Expired);
    links.revoke(&id, START + HOUR).unwrap();
    links.revoke(&id, START + DAY).unwrap();
    assert_eq!(state(START), LinkState::Revoked);
    assert_eq!(
        links.link(&id).unwrap().unwrap().revoked,
        Some(START + HOUR)
    );
    let unknown = "0".repeat(32).parse().unwrap();
    let revoked = links.revoke(&unknown, START);
    assert!(matches!(revoked, Err(GrantError::NotFound { .. })));
}

#[test]
fn what_is_reserved_is_counted_once_or_given_back() {
    let (_place, links) = links();
    let (_, link) = links.create(limited(2, 100), START).unwrap();
    let id = link.id();
    let [one, two, three] = [(); 3].map(|()| upload());
    reserve(&links, &id, one, 60).unwrap();
    reserve(&links, &id, one, 60).unwrap();
    assert!(matches!(
        reserve(&links, &id, two, 41),
        Err(Refused::BytesUsedUp { left: 40 })
    ));
    reserve(&links, &id, two, 10).unwrap();
    assert!(matches!(
        reserve(&links, &id, three, 0),
        Err(Refused::UploadsUsedUp)
    ));
    links.grow(&id, &two, 30).unwrap();
    assert!(matches!(
        links.grow(&id, &two, 1),
        Err(Refused::BytesUsedUp { left: 0 })
    ));
    assert!(matches!(
        links.grow(&id, &three, 0),
        Err(Refused::NotReserved)
    ));
    for _ in 0..2 {
        links.settle(&id, &one, 50).unwrap();
        links.give_back(&id, &two).unwrap();
    }
    let link = links.link(&id).unwrap().unwrap();
    assert_eq!((link.used.uploads, link.used.bytes), (1, 50));
    assert!(link.reserved.is_empty());
    reserve(&links, &id, three, 50).unwrap();
}

#[test]
fn what_is_reserved_becomes_what_is_needed() {
    let (_place, store) = new_store();
    let links = Links::new(store);
    let new = NewLink {
        max_bytes: Some(100),
        ..NewLink::default()
    };
    let id = links.create(new, START).unwrap().1.id();
    let [one, two] = [(); 2].map(|()| upload());
    let reserve = |upload, bytes| links.reserve(&id, upload, What::File, bytes, START + DAY, START);
    let left = || links.link(&id).unwrap().unwrap().bytes_left();
    reserve(one, 100).unwrap();
    for _ in 0..2 {
        links.resize(&id, &one, 30).unwrap();
        assert_eq!(left(), Some(70));
    }
    reserve(two, 60).unwrap();
    assert!(matches!(
        links.resize(&id, &one, 41),
        Err(Refused::BytesUsedUp { left: 10 })
    ));
    assert_eq!(left(), Some(10));
    links.resize(&id, &one, 40).unwrap();
    assert_eq!(left(), Some(0));
    assert!(matches!(
        links.resize(&id, &upload(), 0),
        Err(Refused::NotReserved)
    ));
    links.revoke(&id, START).unwrap();
    assert!(matches!(links.resize(&id, &one, 1), Err(Refused::Revoked)));
}

#[test]
fn parts_are_no_more_than_the_files_that_they_can_become() {
    let (_place, links) = links();
    let new = NewLink {
        max_uploads: Some(2),
        max_file: Some(100),
        ..NewLink::default()
    };
    let (_, link) = links.create(new, START).unwrap();
    let id = link.id();
    let one = upload();
    links
        .reserve(&id, one, What::Part, 150, START + HOUR, START)
        .unwrap();
    let part = |bytes| links.reserve(&id, upload(), What::Part, bytes, START + HOUR, START);
    let refused = part(51);
    assert!(
        matches!(refused, Err(Refused::BytesUsedUp { left: 50 })),
        "{refused:?}"
    );
    part(50).unwrap();
    assert!(matches!(part(1), Err(Refused::UploadsUsedUp)));
    // What is on its way is not one more, but too long.
    let refused = links.grow(&id, &one, 1);
    assert!(
        matches!(refused, Err(Refused::BytesUsedUp { left: 0 })),
        "{refused:?}"
    );
    // A file is held to its own size.
    reserve(&links, &id, upload(), 100).unwrap();
}
