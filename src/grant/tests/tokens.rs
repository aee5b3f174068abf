use super::*;

fn tokens() -> (TempDir, Tokens) {
    let (place, store) = new_store();
    (place, Tokens::new(store))
}

fn name(text: &str) -> TokenName {
    text.parse().unwrap()
}

#[test]
fn a_token_lets_in_until_it_expires_or_is_revoked() {
    let (place, tokens) = tokens();
    let upload = Scopes::from(Scope::Upload);
    let expires = Some(START + DAY);
    let (secret, token) = tokens.create(name("ci"), upload, expires, START).unwrap();
    assert_eq!(tokens.find(&secret, START).unwrap().unwrap(), token);
    assert_eq!(tokens.find(&secret, START + DAY).unwrap(), None);
    let unknown = "sst_00000000000000000000000000000000".parse().ok().unwrap();
    assert_eq!(tokens.find(&unknown, START).unwrap(), None);

    let record = place
        .path()
        .join("records/tokens")
        .join(token.id().to_string());
    let record = std::fs::read_to_string(record).unwrap();
    assert!(!record.contains(&secret.to_text()[4..]), "{record}");

    let (other, _) = tokens.create(name("other"), upload, None, START).unwrap();
    assert_eq!(tokens.revoke("ci", START).unwrap().len(), 1);
    assert_eq!(tokens.find(&secret, START).unwrap(), None);
    assert!(tokens.find(&other, START + 1000 * DAY).unwrap().is_some());
    tokens.revoke(&other.id().to_string(), START).unwrap();
    assert_eq!(tokens.find(&other, START).unwrap(), None);
    for gone in ["ci", "nobody", "not a name", &"0".repeat(32)] {
        let revoked = tokens.revoke(gone, START);
        assert!(
            matches!(revoked, Err(GrantError::NotFound { .. })),
            "{gone}"
        );
    }
}

#[test]
fn a_rotated_token_overlaps_with_the_one_before() {
    let (_place, tokens) = tokens();
    let read = Scopes::from(Scope::Read);
    let expires = Some(START + 90 * DAY);
    let (old, _) = tokens.create(name("ci"), read, expires, START).unwrap();
    let day_ten = START + 10 * DAY;
    let (new, token) = tokens.rotate(&name("ci"), HOUR, day_ten).unwrap();
    assert_eq!(token.scopes, read);
    assert_eq!(token.expires, Some(day_ten + 90 * DAY));
    let live = |secret, now| tokens.find(secret, now).unwrap().is_some();
    assert!(live(&old, day_ten) && live(&new, day_ten));
    assert!(!live(&old, day_ten + HOUR) && live(&new, day_ten + HOUR));

    let nobody = tokens.rotate(&name("nobody"), HOUR, START);
    assert!(matches!(nobody, Err(GrantError::NotFound { .. })));
    let both = tokens.revoke("ci", day_ten).unwrap();
    assert_eq!(both.len(), 2);
    assert!(!live(&new, day_ten));
}

#[test]
fn a_name_is_of_one_live_token() {
    let (_place, tokens) = tokens();
    let scopes = Scopes::from(Scope::Upload);
    let create = |expires, now| tokens.create(name("ci"), scopes, expires, now);
    create(Some(START + DAY), START).unwrap();
    let taken = create(None, START);
    assert!(matches!(taken, Err(GrantError::NameTaken)));
    create(None, START + DAY).unwrap();
    tokens.revoke("ci", START + DAY).unwrap();
    create(None, START + DAY).unwrap();
    assert_eq!(tokens.list().unwrap().grants.len(), 3);

    let made = std::thread::scope(|scope| {
        let tokens = &tokens;
        let create = || tokens.create(name("other"), scopes, None, START).is_ok();
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(create)).collect();
        let made = threads.into_iter().map(|thread| thread.join().unwrap());
        made.filter(|made| *made).count()
    });
    let tokens = tokens.list().unwrap().grants;
    let kept = tokens.iter().filter(|token| token.name == name("other"));
    assert_eq!(kept.count(), made);
    assert!(made <= 1, "{made}");
}

#[test]
fn a_token_in_use_twice_over_ends_when_it_would_have() {
    let (_place, tokens) = tokens();
    let scopes = Scopes::from(Scope::Upload);
    let soon = Some(START + HOUR);
    let (first, _) = tokens.create(name("ci"), scopes, soon, START).unwrap();
    let (second, _) = tokens.rotate(&name("ci"), DAY, START).unwrap();
    let (third, token) = tokens
        .rotate(&name("ci"), HOUR / 2, START + HOUR / 4)
        .unwrap();
    let live = |secret, minutes| {
        let now = START + Duration::from_mins(minutes);
        tokens.find(secret, now).unwrap().is_some()
    };
    assert_eq!(token.expires, Some(START + HOUR + HOUR / 4));
    assert_eq!([44, 46].map(|at| live(&first, at)), [true, false]);
    assert_eq!([44, 46].map(|at| live(&second, at)), [true, false]);
    assert_eq!([74, 76].map(|at| live(&third, at)), [true, false]);
    // The end of time is as far as it goes.
    let (_, lasting) = tokens.create(name("x"), scopes, None, START).unwrap();
    tokens.rotate(&name("x"), Duration::MAX, START).unwrap();
    let all = tokens.list().unwrap().grants;
    let old = all.iter().find(|token| token.id() == lasting.id()).unwrap();
    assert!(old.expires.unwrap() > START + 7000 * 365 * DAY);
}

#[test]
fn a_token_that_is_over_is_forgotten_in_the_end() {
    let (_place, tokens) = tokens();
    let scopes = Scopes::from(Scope::Upload);
    for (text, expires) in [
        ("expired", Some(START + DAY)),
        ("revoked", None),
        ("live", None),
    ] {
        tokens.create(name(text), scopes, expires, START).unwrap();
    }
    // The newest of all stays in any case.
    tokens
        .rotate(&name("live"), DAY * 20_000, START + HOUR)
        .unwrap();
    tokens.revoke("revoked", START + 2 * DAY).unwrap();
    let left = |days: u32| {
        let removed = tokens.sweep(START + days * DAY).unwrap();
        let left = tokens.list().unwrap().grants;
        let left = left.iter().map(|token| token.name.to_string());
        (removed, left.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(left(30), (0, "expired live live revoked".to_owned()));
    assert_eq!(left(31), (1, "live live revoked".to_owned()));
    assert_eq!(left(10_000), (1, "live live".to_owned()));
}

#[test]
fn that_there_was_a_token_is_not_forgotten() {
    let (_place, tokens) = tokens();
    let scopes = Scopes::from(Scope::Upload);
    let end = Some(START + DAY);
    for (days, text) in [(0, "first"), (0, "second"), (1, "last")] {
        let made = tokens.create(name(text), scopes, end, START + days * DAY / 2);
        made.unwrap();
    }
    for removed in [2, 0] {
        assert_eq!(tokens.sweep(START + 10_000 * DAY).unwrap(), removed);
        let left = tokens.list().unwrap().grants;
        assert!(left.len() == 1 && left[0].name == name("last"));
    }
}

#[test]
fn a_damaged_token_lets_nobody_in() {
    let (place, tokens) = tokens();
    let scopes = Scopes::from(Scope::Admin);
    let (secret, token) = tokens.create(name("ci"), scopes, None, START).unwrap();
    let other = tokens.create(name("other"), scopes, None, START).unwrap().1;
    let path = place
        .path()
        .join("records/tokens")
        .join(token.id().to_string());
    let sound = std::fs::read_to_string(&path).unwrap();
    assert_eq!(serde_json::from_str::<Token>(&sound).unwrap(), token);
    for (from, to) in [
        (r#""v":1"#, r#""v":2"#),
        ("admin", "root"),
        (r#""admin""#, r#""""#),
        (r#""ci""#, r#""""#),
        (r#""expires":null"#, r#""expires":null,"networks":["::1"]"#),
        (r#""revoked":null"#, r#""revoked":"no""#),
        ("}", ""),
    ] {
        assert!(sound.contains(from), "{sound}");
        std::fs::write(&path, sound.replace(from, to)).unwrap();
        let found = tokens.find(&secret, START);
        assert!(matches!(found, Err(GrantError::Damaged { .. })), "{to}");
        let listing = tokens.list().unwrap();
        assert!(listing.grants == [other.clone()] && listing.damaged.len() == 1);
        let damaged = listing.damaged[0].to_string();
        assert!(damaged.contains(&token.id().to_string()), "{damaged}");
        let revoked = tokens.revoke("ci", START);
        assert!(matches!(revoked, Err(GrantError::Damaged { .. })), "{to}");
    }
    // It keeps nobody from the others.
    tokens.create(name("third"), scopes, None, START).unwrap();
    tokens.rotate(&name("other"), HOUR, START).unwrap();
    assert_eq!(tokens.revoke("other", START).unwrap().len(), 2);
}

#[test]
fn names_are_strict() {
    let longest = "Z".repeat(64);
    for text in ["a", "backup-01.eu_west", "..", "-", &longest] {
        assert_eq!(name(text).as_str(), text);
    }
    let (too_long, id) = ("Z".repeat(65), "0".repeat(32));
    for text in ["", " ", "a b", "a/b", "a:b", "a\n", "ä", &too_long, &id] {
        assert_eq!(text.parse::<TokenName>(), Err(TokenNameError), "{text:?}");
    }
}
