//! One order, from asking for it to the certificate (RFC 8555, section 7.4).

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Error,
    Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use zeroize::Zeroizing;

use super::challenges::{Proofs, subject_name};
use super::settings::{AcmeChallenge, AcmeName, AcmeSettings};
use super::stored::Issued;
use super::{AcmeError, NONCE_TRIES, is_problem};
use crate::tls::HostName;

/// How the authority is asked whether it is done: after half a second, and then less and less often.
const POLL: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_mins(3));

/// Orders a certificate for the names of the settings, with a key made for it.
pub(super) async fn order(
    account: &Account,
    settings: &AcmeSettings,
    replaces: Option<CertificateIdentifier<'static>>,
    proofs: &mut Proofs,
) -> Result<Issued, AcmeError> {
    let identifiers: Vec<_> = settings.names.iter().map(identifier).collect();
    let mut new = NewOrder::new(&identifiers);
    if let Some(profile) = &settings.profile {
        new = new.profile(profile.as_str());
    }
    if let Some(replaces) = replaces {
        new = new.replaces(replaces);
    }
    let mut order = with_good_nonce!(account.new_order(&new).await)?;
    prove(&mut order, settings, proofs).await?;
    match with_good_nonce!(order.poll_ready(&POLL).await) {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(why_not(&mut order).await),
        // The order says that it failed; its challenges say why.
        Err(Error::Api(problem)) => {
            return Err(match why_not(&mut order).await {
                refused @ AcmeError::Refused { .. } => refused,
                _ => Error::Api(problem).into(),
            });
        }
        Err(error) => return Err(error.into()),
    }
    let (key, request) = certificate_request(&settings.names)?;
    with_good_nonce!(order.finalize_csr(&request).await)?;
    let chain = with_good_nonce!(order.poll_certificate(&POLL).await)?;
    Ok(Issued { chain, key })
}

fn identifier(name: &AcmeName) -> Identifier {
    match &name.0 {
        HostName::Dns(name) => Identifier::Dns(name.as_ref().to_owned()),
        HostName::Ip(address) => Identifier::Ip(*address),
    }
}

/// Sets up the answers for all names that are not proved yet, and tells the authority of each.
async fn prove(
    order: &mut Order,
    settings: &AcmeSettings,
    proofs: &mut Proofs,
) -> Result<(), AcmeError> {
    let how = settings.challenge;
    let kind = match how {
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        AcmeChallenge::Http01 => ChallengeType::Http01,
    };
    let mut nonce_failures = 0;
    let mut authorizations = order.authorizations();
    loop {
        // What was fetched already is not fetched again; so after a refused nonce all of it may begin anew.
        let mut authorization = match authorizations.next().await {
            None => return Ok(()),
            Some(Ok(authorization)) => authorization,
            Some(Err(error)) if is_problem(&error, "badNonce") && nonce_failures < NONCE_TRIES => {
                nonce_failures += 1;
                authorizations = order.authorizations();
                continue;
            }
            Some(Err(error)) => return Err(error.into()),
        };
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        if !settings.names.iter().any(|own| own.to_string() == name) {
            let error = "the authority wants proof of a name that was not ordered";
            return Err(Error::Str(error).into());
        }
        let Some(mut challenge) = authorization.challenge(kind.clone()) else {
            return Err(AcmeError::NoChallenge {
                name,
                challenge: how,
            });
        };
        if proofs.has(&challenge.token) {
            continue;
        }
        let key = challenge.key_authorization();
        match how {
            AcmeChallenge::TlsAlpn01 => {
                let host = name.parse().map_err(|_| AcmeError::NoChallenge {
                    name: name.clone(),
                    challenge: how,
                })?;
                proofs.by_handshake(&challenge.token, &host, &key)?;
            }
            AcmeChallenge::Http01 => proofs.by_file(&challenge.token, &key),
        }
        with_good_nonce!(challenge.set_ready().await)?;
    }
}

/// Which name the authority could not validate, and what it says of that.
async fn why_not(order: &mut Order) -> AcmeError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if with_good_nonce!(authorization.refresh().await.map(drop)).is_err() {
            break;
        }
        let failed = authorization.challenges.iter().find(|challenge| {
            challenge.status == ChallengeStatus::Invalid || challenge.error.is_some()
        });
        if let Some(failed) = failed {
            let problem = failed.error.clone();
            return AcmeError::Refused {
                name: authorization.identifier().to_string(),
                detail: problem
                    .and_then(|problem| problem.detail)
                    .unwrap_or_default(),
            };
        }
    }
    Error::Str("the order failed, and the authority does not say why").into()
}

/// A new key, as PEM, and the request for a certificate for it (RFC 2986), as DER.
fn certificate_request(names: &[AcmeName]) -> Result<(Zeroizing<String>, Vec<u8>), AcmeError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let subjects = names.iter().map(|name| subject_name(&name.0));
    params.subject_alt_names = subjects.collect::<Result<_, _>>()?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let request = params.serialize_request(&key)?;
    Ok((key.serialize_pem().into(), request.der().to_vec()))
}
