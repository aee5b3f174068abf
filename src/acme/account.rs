//! The account at an authority: made once, kept in a file of its own for each authority.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use rustls::ClientConfig;
use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::client::{AuthorityClient, RetryAfter};
use super::files;
use super::settings::{AcmeSettings, ExternalAccount};
use super::{AcmeDirectory, AcmeError};

/// The least that proves an account made elsewhere, in bytes; authorities give 32 and more.
const MIN_KEY: usize = 16;

/// The file of the account at this authority. Another directory is another authority.
pub(super) fn path(folder: &Path, directory: &AcmeDirectory) -> PathBuf {
    let digest = Sha256::digest(directory.as_str());
    folder.join(format!("account-{}.json", HEXLOWER.encode(&digest[..8])))
}

/// The account in the file, or a new one, which is in the file when this returns.
pub(super) async fn account(
    folder: &Path,
    settings: &AcmeSettings,
    tls: &Arc<ClientConfig>,
    retry_after: &RetryAfter,
) -> Result<Account, AcmeError> {
    let path = path(folder, &settings.directory);
    let builder = || {
        let client = AuthorityClient::new(Arc::clone(tls), retry_after.clone());
        Account::builder_with_http(Box::new(client))
    };
    if let Some(text) = files::read_secret(&path)? {
        let credentials = credentials(&text, &settings.directory);
        let credentials = credentials.ok_or_else(|| AcmeError::Account(path.clone()))?;
        return Ok(builder().from_credentials(credentials).await?);
    }
    let external = settings.external_account.as_ref().map(external_key);
    let external = external.transpose()?;
    let contact = settings.email.as_ref().map(super::AcmeEmail::contact);
    let contact: Vec<_> = contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        // `serve` does not start without --acme-terms-agreed.
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let directory = settings.directory.as_str();
    let made = with_good_nonce!({
        let made = builder().create(&new, directory.to_owned(), external.as_ref());
        made.await
    });
    let (account, credentials) = made?;
    let text = serde_json::to_string(&credentials).map(Zeroizing::new);
    let text = text.map_err(|error| AcmeError::Protocol(error.into()))?;
    files::write_secret(&path, &text)?;
    tracing::info!(directory, "made an account");
    Ok(account)
}

/// What is in an account's file, where it is one of this authority.
fn credentials(text: &str, directory: &AcmeDirectory) -> Option<AccountCredentials> {
    let value: Value = serde_json::from_str(text).ok()?;
    if value["directory"].as_str() != Some(directory.as_str()) {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// The key of an account that was made elsewhere.
pub(super) fn external_key(external: &ExternalAccount) -> Result<ExternalAccountKey, AcmeError> {
    let path = &external.key_file;
    let missing = || AcmeError::file("read", path, std::io::ErrorKind::NotFound.into());
    let text = files::read_secret(path)?.ok_or_else(missing)?;
    let key = decode_key(&text).ok_or_else(|| AcmeError::ExternalKey(path.clone()))?;
    Ok(ExternalAccountKey::new(external.key_id.clone(), &key))
}

/// base64url, whether padded or not (RFC 8555, section 7.3.4).
fn decode_key(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.trim().trim_end_matches('=');
    let key = BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()
        .map(Zeroizing::new)?;
    (key.len() >= MIN_KEY).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_authority_has_an_account_of_its_own() {
        let path = |url: &str| path(Path::new("acme"), &url.parse().unwrap());
        let first = path("https://ca.example.org/dir");
        assert_eq!(first, path("https://ca.example.org/dir"));
        assert_ne!(first, path("https://ca.example.org/staging"));
        assert_eq!(first.parent(), Some(Path::new("acme")));
    }

    #[test]
    fn credentials_of_another_authority_are_not_used() {
        let (_, key) = instant_acme::Key::generate_pkcs8().unwrap();
        let key = BASE64URL_NOPAD.encode(key.secret_pkcs8_der());
        let text = format!(
            r#"{{"id": "https://ca.example.org/1", "key_pkcs8": "{key}", "directory": "https://ca.example.org/dir"}}"#
        );
        let here = "https://ca.example.org/dir".parse().unwrap();
        assert!(credentials(&text, &here).is_some());
        let elsewhere = "https://other.example.org/dir".parse().unwrap();
        assert!(credentials(&text, &elsewhere).is_none());
        assert!(credentials(&text[..text.len() / 2], &here).is_none());
        assert!(credentials("{}", &here).is_none());
    }

    #[test]
    fn the_key_of_an_external_account_is_base64url() {
        let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
        assert_eq!(decode_key(&format!("{key}\n")).unwrap().len(), 48);
        assert_eq!(decode_key("AAAAAAAAAAAAAAAAAAAAAA==\n").unwrap().len(), 16);
        for text in ["", "AAAA", "not base64url!", "AAAAAAAAAAAAAAAAAAAAAA+/"] {
            assert!(decode_key(text).is_none(), "{text:?}");
        }
    }
}
