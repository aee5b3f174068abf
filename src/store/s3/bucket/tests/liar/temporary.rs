//! Where the small engine gives temporary keys: as a service for tokens (STS), and as one that a container has.

use http::request::Parts;

use super::*;

const KEY: &str = "temporary";
const TOKEN: &str = "the-session-of-it";
const END: &str = "2099-01-01T00:00:00Z";

/// Which keys it knows.
#[derive(Debug, Default)]
pub(in crate::store::s3) struct Temporary {
    /// Whether it takes no requests but those with the temporary key and its session.
    pub(in crate::store::s3) alone: bool,
    /// What it was shown for keys.
    pub(in crate::store::s3) shown: Vec<String>,
}

impl Temporary {
    pub(super) fn answer(
        &mut self,
        head: &Parts,
        query: &BTreeMap<String, String>,
    ) -> Option<Answer> {
        let header = |name: &str| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        match (head.uri.path(), &head.method) {
            ("/", &Method::POST) => {
                let said = ["Action", "RoleArn", "RoleSessionName", "WebIdentityToken"];
                let said = said.map(|name| query.get(name).cloned().unwrap_or_default());
                self.shown.push(said.join(" "));
                Some(xml(format!(
                    "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                     <AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
                     <SessionToken>{TOKEN}</SessionToken><Expiration>{END}</Expiration>\
                     </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
                )))
            }
            ("/keys", _) => {
                self.shown.push(header("authorization"));
                Some(xml(format!(
                    r#"{{"AccessKeyId":"{KEY}","SecretAccessKey":"secret","Token":"{TOKEN}","Expiration":"{END}"}}"#
                )))
            }
            _ => {
                let signed = header("authorization");
                let is_session = header("x-amz-security-token") == TOKEN
                    && signed.contains(&format!("Credential={KEY}/"))
                    && signed.contains("x-amz-security-token");
                (self.alone && !is_session).then(|| failure(403, "InvalidToken"))
            }
        }
    }
}
