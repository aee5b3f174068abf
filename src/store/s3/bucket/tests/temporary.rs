//! Keys that end, from a service for tokens and from one that a container has.

use std::path::PathBuf;

use super::*;

fn token() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"who-i-am").unwrap();
    file
}

/// Works with what such an environment gives; gives what the service was shown for it.
fn shown(environment: impl FnOnce(&Liar, PathBuf) -> AwsEnvironment) -> Vec<String> {
    let (liar, token) = (Liar::start(Lies::default()), token());
    liar.state().temporary.alone = true;
    let environment = environment(&liar, token.path().to_owned());
    let bucket = Bucket::connect(&settings_with(&liar, &environment)).unwrap();
    assert!(bucket.engine().conditional_writes);
    bucket.create("records/a", "one".into(), &none()).unwrap();
    assert_eq!(bucket.get("records/a", 10).unwrap().bytes, "one");
    liar.state().temporary.alone = false;
    let shown = liar.state().temporary.shown.clone();
    assert_eq!(
        shown.len(),
        1,
        "once for as long as the key lasts: {shown:?}"
    );
    shown
}

#[test]
fn a_web_identity_gives_a_key_whose_session_every_request_has() {
    let shown = shown(|liar, token| AwsEnvironment {
        web_identity_token_file: Some(token),
        role_arn: Some("arn:aws:iam::1:role/uploads".into()),
        role_session_name: Some("node-1".into()),
        sts_endpoint: Some(format!("http://{}", liar.address)),
        ..AwsEnvironment::default()
    });
    let said = "AssumeRoleWithWebIdentity arn:aws:iam::1:role/uploads node-1 who-i-am";
    assert_eq!(shown, [said]);
}

#[test]
fn a_container_gives_a_key_whose_session_every_request_has() {
    let shown = shown(|liar, token| AwsEnvironment {
        container_credentials_full_uri: Some(format!("http://{}/keys", liar.address)),
        container_authorization_token_file: Some(token),
        ..AwsEnvironment::default()
    });
    assert_eq!(shown, ["who-i-am"]);
}
