use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;

fn location() -> S3Url {
    "s3://uploads/sealslot".parse().unwrap()
}

fn with_key() -> AwsEnvironment {
    AwsEnvironment {
        access_key_id: Some("id".into()),
        secret_access_key: Some("secret".to_owned().into()),
        ..AwsEnvironment::default()
    }
}

fn settings(
    options: S3Options,
    environment: &AwsEnvironment,
) -> Result<S3Settings, S3SettingsError> {
    S3Settings::new(location(), options, environment)
}

fn error(environment: &AwsEnvironment) -> S3SettingsError {
    settings(S3Options::default(), environment).err().unwrap()
}

/// A home with these files of profiles.
fn home(credentials: &str, config: &str) -> (tempfile::TempDir, AwsEnvironment) {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    for (file, text) in [(CREDENTIALS_FILE, credentials), (CONFIG_FILE, config)] {
        let file = home.path().join(file);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    }
    let environment = AwsEnvironment {
        profile: Some("a".into()),
        home: Some(home.path().to_owned()),
        ..AwsEnvironment::default()
    };
    (home, environment)
}

#[test]
fn a_configuration_goes_before_the_environment_and_that_before_a_profile() {
    let (_home, mut environment) = home(
        "[a]\naws_access_key_id = id\naws_secret_access_key = secret\n",
        "[profile a]\nregion = profile\nendpoint_url = https://profile\nca_bundle = /profile.pem\n",
    );
    let read = settings(S3Options::default(), &environment).unwrap();
    assert_eq!(read.region, "profile");
    assert_eq!(read.endpoint.unwrap().to_string(), "https://profile");
    assert_eq!(read.cacert, Some("/profile.pem".into()));
    environment.region = Some("environment".into());
    environment.endpoint = Some("https://environment".into());
    environment.ca_bundle = Some("/environment.pem".into());
    let read = settings(S3Options::default(), &environment).unwrap();
    assert_eq!(read.region, "environment");
    assert_eq!(read.endpoint.unwrap().to_string(), "https://environment");
    assert_eq!(read.cacert, Some("/environment.pem".into()));
    let options = S3Options {
        region: Some("options".into()),
        endpoint: Some("https://options".into()),
        cacert: Some("/options.pem".into()),
        ..S3Options::default()
    };
    let read = settings(options, &environment).unwrap();
    assert_eq!(read.region, "options");
    assert_eq!(read.endpoint.unwrap().to_string(), "https://options");
    assert_eq!(read.cacert, Some("/options.pem".into()));
}

#[test]
fn without_more_than_a_key_it_is_amazon() {
    let mut environment = with_key();
    environment.region = Some(String::new());
    environment.endpoint = Some(String::new());
    let read = settings(S3Options::default(), &environment).unwrap();
    assert_eq!(read.region, "us-east-1");
    assert!(read.endpoint.is_none() && read.cacert.is_none());
    assert_eq!(read.location(), &location());
}

#[test]
fn plain_http_stays_on_this_machine_unless_it_may_leave() {
    let options = |endpoint: &str, allow_http| S3Options {
        endpoint: Some(endpoint.into()),
        allow_http,
        ..S3Options::default()
    };
    assert!(settings(options("http://127.0.0.1:8333", false), &with_key()).is_ok());
    assert!(settings(options("http://10.0.0.1:8333", true), &with_key()).is_ok());
    let refused = settings(options("http://10.0.0.1:8333", false), &with_key());
    assert!(matches!(refused, Err(S3SettingsError::PlainHttp(_))));
    let refused = settings(options("10.0.0.1:8333", true), &with_key());
    assert!(matches!(refused, Err(S3SettingsError::Endpoint(..))));
}

#[test]
fn without_credentials_there_is_no_store() {
    assert!(matches!(
        error(&AwsEnvironment::default()),
        S3SettingsError::NoCredentials
    ));
    let mut environment = with_key();
    environment.secret_access_key = Some(String::new().into());
    let half = error(&environment).to_string();
    assert_eq!(
        half,
        "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not: set both"
    );
    let environment = AwsEnvironment {
        web_identity_token_file: Some("/token".into()),
        ..AwsEnvironment::default()
    };
    assert!(matches!(
        error(&environment),
        S3SettingsError::Half {
            missing: "AWS_ROLE_ARN",
            ..
        }
    ));
}

#[test]
fn a_key_in_the_environment_goes_before_a_profile() {
    let (_home, environment) = home(
        "[a]\naws_access_key_id = other\naws_secret_access_key = x\n",
        "",
    );
    let environment = AwsEnvironment {
        profile: environment.profile.clone(),
        home: environment.home.clone(),
        ..with_key()
    };
    let read = settings(S3Options::default(), &environment).unwrap();
    assert!(matches!(read.credentials, Credentials::Key { id, .. } if id == "id"));
}

#[test]
fn a_profile_gives_a_key_or_a_role() {
    let (_home, environment) = home(
        "[a]\naws_access_key_id = id\naws_secret_access_key = s\naws_session_token = t\n",
        "",
    );
    let read = settings(S3Options::default(), &environment).unwrap();
    let Credentials::Key { id, secret, token } = read.credentials else {
        panic!("it gives a key");
    };
    assert_eq!((&*id, secret.as_str()), ("id", "s"));
    assert_eq!(token.unwrap().as_str(), "t");
    let (_home, environment) = home(
        "",
        "[profile a]\nrole_arn = arn\nweb_identity_token_file = /t\n",
    );
    let read = settings(S3Options::default(), &environment).unwrap();
    assert!(
        matches!(read.credentials, Credentials::WebIdentity { role_arn, .. } if role_arn == "arn")
    );
}

#[test]
fn a_file_of_profiles_that_others_can_change_is_refused() {
    let key = "[a]\naws_access_key_id = id\naws_secret_access_key = s\n";
    for (file, mode) in [(CREDENTIALS_FILE, 0o666), (CONFIG_FILE, 0o620)] {
        let (home, environment) = home(key, "");
        let file = home.path().join(file);
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let refused = error(&environment);
        assert!(matches!(refused, S3SettingsError::Writable { .. }));
        let says = format!("(mode {mode:04o}): run `chmod go-w {}`", file.display());
        assert!(refused.to_string().ends_with(&says), "{refused}");
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        settings(S3Options::default(), &environment).unwrap();
    }
}

#[test]
fn a_profile_that_gives_nothing_is_told_what_it_lacks() {
    let (_home, mut environment) = home(
        "[a]\naws_access_key_id = id\n",
        "[profile b]\nsso_session = x\n",
    );
    assert!(matches!(error(&environment), S3SettingsError::EmptyProfile(name) if name == "a"));
    environment.profile = Some("b".into());
    let unsupported = error(&environment);
    assert!(matches!(
        unsupported,
        S3SettingsError::UnsupportedProfile {
            key: "sso_session",
            ..
        }
    ));
    environment.profile = Some("c".into());
    assert!(matches!(error(&environment), S3SettingsError::NoProfile(name) if name == "c"));
    environment.home = None;
    assert!(matches!(error(&environment), S3SettingsError::NoHome));
    environment.shared_credentials_file = Some("/nowhere/credentials".into());
    assert!(matches!(error(&environment), S3SettingsError::Read { .. }));
}

#[test]
fn no_error_repeats_what_a_file_of_secrets_says() {
    let (_home, environment) = home("[a]\nhunter2\n", "");
    let mut text = String::new();
    let mut error: Option<&dyn std::error::Error> = Some(&error(&environment));
    while let Some(part) = error {
        text += &part.to_string();
        error = part.source();
    }
    assert!(
        text.contains("line 2") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn a_container_gives_credentials_over_its_own_link_only() {
    let mut environment = AwsEnvironment {
        container_credentials_full_uri: Some("http://169.254.170.23/v1/credentials".into()),
        ..AwsEnvironment::default()
    };
    assert!(matches!(error(&environment), S3SettingsError::Half { .. }));
    environment.container_authorization_token_file = Some("/token".into());
    let read = settings(S3Options::default(), &environment).unwrap();
    assert!(matches!(
        read.credentials,
        Credentials::ContainerService { .. }
    ));
    for url in [
        "http://10.0.0.1/x",
        "http://169.254.170.23:80/x",
        "169.254.170.23/x",
    ] {
        environment.container_credentials_full_uri = Some(url.into());
        assert!(
            matches!(error(&environment), S3SettingsError::Container(_)),
            "{url}"
        );
    }
    environment.container_credentials_relative_uri = Some("/v2/credentials".into());
    let read = settings(S3Options::default(), &environment).unwrap();
    assert!(
        matches!(read.credentials, Credentials::ContainerPath(path) if path == "/v2/credentials")
    );
}

#[test]
fn a_password_in_an_address_is_not_shown() {
    assert_eq!(shown("https://key:p@ss@s3.example.org"), "s3.example.org");
    assert_eq!(shown("ftp://s3.example.org"), "ftp://s3.example.org");
}
