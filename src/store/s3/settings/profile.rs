//! Profiles: the files of credentials and settings that tools for S3 share. Read strictly: a line that cannot be read may be the one that
//! matters.

use zeroize::Zeroizing;

/// The largest file that is read, in bytes.
pub(super) const MAX_FILE: u64 = 256 << 10;

/// How a file names the sections of its profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileFile {
    /// `~/.aws/credentials`: `[name]`.
    Credentials,
    /// `~/.aws/config`: `[profile name]`, and `[default]`.
    Config,
}

/// A file that cannot be read as one of profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Neither a section, nor a setting, nor a comment.
    #[error("line {0} is neither [a section] nor name = value")]
    Line(usize),
    /// A setting that stands there twice, and who knows which is meant.
    #[error("line {0} sets again what was set before; remove one of the two")]
    Repeated(usize),
    /// A value that goes on in the next line.
    #[error("line {0} goes on with the value before it; write it in one line")]
    Continued(usize),
}

/// What a profile says, as far as it matters for a store.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AwsProfile {
    pub(super) access_key_id: Option<String>,
    pub(super) secret_access_key: Option<Zeroizing<String>>,
    pub(super) session_token: Option<Zeroizing<String>>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) ca_bundle: Option<String>,
    pub(super) role_arn: Option<String>,
    pub(super) role_session_name: Option<String>,
    pub(super) web_identity_token_file: Option<String>,
    /// Ways to credentials that are not gone here.
    pub(super) unsupported: Option<&'static str>,
}

/// What would give credentials in other programs.
const UNSUPPORTED: [&str; 5] = [
    "credential_process",
    "credential_source",
    "source_profile",
    "sso_session",
    "sso_start_url",
];

impl AwsProfile {
    /// Reads one profile out of the text of a file; `None` where it is not in there.
    pub fn parse(text: &str, name: &str, file: ProfileFile) -> Result<Option<Self>, ProfileError> {
        let mut found: Option<Self> = None;
        let mut place = Place::Outside;
        for (number, line) in (1..).zip(text.lines()) {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            if line.starts_with([' ', '\t']) {
                match place {
                    Place::Inside { nested: true, .. } => continue,
                    Place::Inside { nested: false, .. } => {
                        return Err(ProfileError::Continued(number));
                    }
                    Place::Outside => return Err(ProfileError::Line(number)),
                }
            }
            if trimmed.starts_with('[') {
                let section = section(trimmed).ok_or(ProfileError::Line(number))?;
                let wanted = file.names(section) == Some(name);
                if wanted {
                    found.get_or_insert_default();
                }
                place = Place::Inside {
                    wanted,
                    nested: false,
                };
                continue;
            }
            let Place::Inside { wanted, nested } = &mut place else {
                return Err(ProfileError::Line(number));
            };
            let (key, value) = setting(trimmed).ok_or(ProfileError::Line(number))?;
            *nested = value.is_empty();
            if let Some(profile) = found.as_mut().filter(|_| *wanted) {
                profile
                    .set(&key, value)
                    .map_err(|()| ProfileError::Repeated(number))?;
            }
        }
        Ok(found)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), ()> {
        fn once<T: From<String>>(slot: &mut Option<T>, value: &str) -> Result<(), ()> {
            if value.is_empty() {
                return Ok(());
            }
            match slot.replace(T::from(value.to_owned())) {
                None => Ok(()),
                Some(_) => Err(()),
            }
        }
        match key {
            "aws_access_key_id" => once(&mut self.access_key_id, value),
            "aws_secret_access_key" => once(&mut self.secret_access_key, value),
            "aws_session_token" => once(&mut self.session_token, value),
            "region" => once(&mut self.region, value),
            "endpoint_url" => once(&mut self.endpoint, value),
            "ca_bundle" => once(&mut self.ca_bundle, value),
            "role_arn" => once(&mut self.role_arn, value),
            "role_session_name" => once(&mut self.role_session_name, value),
            "web_identity_token_file" => once(&mut self.web_identity_token_file, value),
            _ => {
                let known = UNSUPPORTED.into_iter().find(|known| *known == key);
                self.unsupported = self.unsupported.or(known);
                Ok(())
            }
        }
    }

    /// This one, and what only `other` says.
    pub(super) fn or(self, other: Self) -> Self {
        // The parts of a key belong together.
        let has_key = self.access_key_id.is_some() || self.secret_access_key.is_some();
        let keys = if has_key { self.clone() } else { other.clone() };
        let rest = self;
        Self {
            access_key_id: keys.access_key_id,
            secret_access_key: keys.secret_access_key,
            session_token: keys.session_token,
            region: rest.region.or(other.region),
            endpoint: rest.endpoint.or(other.endpoint),
            ca_bundle: rest.ca_bundle.or(other.ca_bundle),
            role_arn: rest.role_arn.or(other.role_arn),
            role_session_name: rest.role_session_name.or(other.role_session_name),
            web_identity_token_file: rest
                .web_identity_token_file
                .or(other.web_identity_token_file),
            unsupported: rest.unsupported.or(other.unsupported),
        }
    }
}

/// Where in a file a line stands.
enum Place {
    Outside,
    Inside {
        /// Whether it is the section of the profile that is looked for.
        wanted: bool,
        /// Whether lines that are indented belong to a setting that is no concern of a store.
        nested: bool,
    },
}

impl ProfileFile {
    /// The profile that a section is of; `None` where it is of something else.
    fn names(self, section: &str) -> Option<&str> {
        match self {
            Self::Credentials => Some(section),
            Self::Config if section == "default" => Some(section),
            Self::Config => {
                let rest = section.strip_prefix("profile")?;
                rest.starts_with([' ', '\t']).then(|| rest.trim())
            }
        }
    }
}

/// `[name]`, and perhaps a comment behind it.
fn section(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix('[')?.split_once(']')?;
    let (name, rest) = (name.trim(), rest.trim());
    let fine = !name.is_empty() && !name.contains('[');
    (fine && (rest.is_empty() || rest.starts_with(['#', ';']))).then_some(name)
}

/// `name = value`, and perhaps a comment behind it, which a space sets off.
fn setting(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if key.is_empty() || !key.bytes().all(fits) {
        return None;
    }
    let comment = [" #", " ;", "\t#", "\t;"];
    let end = comment.iter().filter_map(|mark| value.find(mark)).min();
    let value = &value[..end.unwrap_or(value.len())];
    Some((key.to_ascii_lowercase(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CREDENTIALS: &str = "\
# of the operator
[default]
aws_access_key_id = one
aws_secret_access_key=first/secret+x#y ; the old one
[ backup ] # nightly
AWS_ACCESS_KEY_ID=two
aws_secret_access_key = second=
aws_session_token = token
";

    #[test]
    fn a_profile_is_found_by_its_name() {
        let read = |name| AwsProfile::parse(CREDENTIALS, name, ProfileFile::Credentials).unwrap();
        let default = read("default").unwrap();
        assert_eq!(default.access_key_id.as_deref(), Some("one"));
        assert_eq!(
            default.secret_access_key.unwrap().as_str(),
            "first/secret+x#y"
        );
        assert!(default.session_token.is_none());
        let backup = read("backup").unwrap();
        assert_eq!(backup.access_key_id.as_deref(), Some("two"));
        assert_eq!(backup.secret_access_key.unwrap().as_str(), "second=");
        assert_eq!(backup.session_token.unwrap().as_str(), "token");
        assert!(read("other").is_none());
    }

    #[test]
    fn a_file_of_settings_names_profiles_as_such() {
        let text = "[default]\nregion = eu-north-1\ns3 =\n  max_concurrent_requests = 20\n\
            endpoint_url = https://s3.example.org\n[profile  a]\nrole_arn = arn:x\n[sso-session a]\nregion = no\n\
            [b]\nregion = no\n[profile sso]\nsso_session = a\n";
        let read = |name| AwsProfile::parse(text, name, ProfileFile::Config).unwrap();
        let default = read("default").unwrap();
        assert_eq!(default.region.as_deref(), Some("eu-north-1"));
        assert_eq!(default.endpoint.as_deref(), Some("https://s3.example.org"));
        let a = read("a").unwrap();
        assert_eq!((a.role_arn.as_deref(), a.region), (Some("arn:x"), None));
        assert!(read("b").is_none());
        assert_eq!(read("sso").unwrap().unsupported, Some("sso_session"));
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_line() {
        for (text, error) in [
            ("region = x", ProfileError::Line(1)),
            ("[default", ProfileError::Line(1)),
            ("[default] region = x", ProfileError::Line(1)),
            ("[]", ProfileError::Line(1)),
            ("  [default]", ProfileError::Line(1)),
            ("[default]\nregion", ProfileError::Line(2)),
            ("[other]\nregion", ProfileError::Line(2)),
            ("[default]\n= x", ProfileError::Line(2)),
            (
                "[default]\nregion = x\nregion = y",
                ProfileError::Repeated(3),
            ),
            (
                "[default]\nregion = x\n[default]\nregion = y",
                ProfileError::Repeated(4),
            ),
            ("[default]\nregion = x\n y", ProfileError::Continued(3)),
        ] {
            let read = AwsProfile::parse(text, "default", ProfileFile::Credentials);
            assert_eq!(read.err(), Some(error), "{text:?}");
        }
    }

    #[test]
    fn keys_of_two_files_are_not_mixed() {
        let half = AwsProfile {
            access_key_id: Some("one".into()),
            ..AwsProfile::default()
        };
        let whole = AwsProfile {
            access_key_id: Some("two".into()),
            secret_access_key: Some("secret".to_owned().into()),
            region: Some("r".into()),
            ..AwsProfile::default()
        };
        let merged = half.or(whole);
        assert_eq!(merged.access_key_id.as_deref(), Some("one"));
        assert!(merged.secret_access_key.is_none());
        assert_eq!(merged.region.as_deref(), Some("r"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(name in "[a-z][a-z0-9-]{0,8}", id in "[A-Z0-9]{1,20}", secret in "[A-Za-z0-9/+=][A-Za-z0-9/+=#]{0,39}") {
            let text = format!("[x-{name}]\nregion = no\n[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
            let read = AwsProfile::parse(&text, &name, ProfileFile::Credentials).unwrap().unwrap();
            prop_assert_eq!(read.access_key_id.unwrap(), id);
            let found = read.secret_access_key.unwrap();
            prop_assert_eq!(found.as_str(), secret);
            prop_assert_eq!(read.region, None);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(\\[|\\]|=|#|;| |\n|a|profile){0,40}") {
            for file in [ProfileFile::Credentials, ProfileFile::Config] {
                let _ = AwsProfile::parse(&text, "a", file);
            }
        }
    }
}
