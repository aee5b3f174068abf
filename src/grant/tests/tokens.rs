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
