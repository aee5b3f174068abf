//! Which bucket, where, and with which credentials: what the configuration and the environment say, put together.

mod profile;
mod url;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub use profile::{AwsProfile, ProfileError, ProfileFile};
pub use url::{S3Url, S3UrlError};

use super::bucket::{Endpoint, EndpointError};

const CREDENTIALS_FILE: &str = ".aws/credentials";
const CONFIG_FILE: &str = ".aws/config";
const GROUP_AND_OTHERS_WRITE: u32 = 0o022;
const DEFAULT_REGION: &str = "us-east-1";

/// What a configuration says of the store; it goes before what the environment says.
#[derive(Debug, Clone, Default)]
pub struct S3Options {
    /// Where the engine is, as `https://host:port`; Amazon's of the region where it is not given.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: Option<String>,
    /// Whether the bucket is named by the host and not by the path.
    pub virtual_host: bool,
    /// The only certificate authorities that are trusted, as a PEM file; the system's where it is not given.
    pub cacert: Option<PathBuf>,
    /// Whether plain HTTP may leave this machine.
    pub allow_http: bool,
}

/// What the environment says, under the names that every tool for S3 knows. The command line fills it in; what is set to nothing is
/// not set.
#[derive(Clone, Default)]
pub struct AwsEnvironment {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: Option<Zeroizing<String>>,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Option<Zeroizing<String>>,
    /// `AWS_PROFILE`
    pub profile: Option<String>,
    /// `AWS_SHARED_CREDENTIALS_FILE`
    pub shared_credentials_file: Option<PathBuf>,
    /// `AWS_CONFIG_FILE`
    pub config_file: Option<PathBuf>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`
    pub web_identity_token_file: Option<PathBuf>,
    /// `AWS_ROLE_ARN`
    pub role_arn: Option<String>,
    /// `AWS_ROLE_SESSION_NAME`
    pub role_session_name: Option<String>,
    /// `AWS_ENDPOINT_URL_STS`
    pub sts_endpoint: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`
    pub container_credentials_relative_uri: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`
    pub container_credentials_full_uri: Option<String>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`
    pub container_authorization_token_file: Option<PathBuf>,
    /// `AWS_REGION`, or else `AWS_DEFAULT_REGION`
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL_S3`, or else `AWS_ENDPOINT_URL`
    pub endpoint: Option<String>,
    /// `AWS_CA_BUNDLE`
    pub ca_bundle: Option<PathBuf>,
    /// `HOME`, where the files of profiles are unless they are named.
    pub home: Option<PathBuf>,
}

/// Why there is no telling which store is meant, or how to reach it.
#[derive(Debug, thiserror::Error)]
pub enum S3SettingsError {
    /// Nothing says who asks. The metadata service of a cloud is never asked unless told to.
    #[error(
        "no credentials for the store: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN"
    )]
    NoCredentials,
    /// Only half of what belongs together.
    #[error("{given} is set, but {missing} is not: set both")]
    Half {
        /// What there is.
        given: &'static str,
        /// What there is not.
        missing: &'static str,
    },
    /// Not an address of an engine.
    #[error("{0:?} is no address of a store")]
    Endpoint(String, #[source] EndpointError),
    /// Secrets in the clear.
    #[error(
        "{0} is plain HTTP to another machine, where anybody on the way can change what is stored; use https, or set --store-allow-http"
    )]
    PlainHttp(String),
    /// Not a region.
    #[error("{0:?} is no region: expected up to 64 characters of a-z, 0-9 and -")]
    Region(String),
    /// A file of profiles cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Whoever can write a file of profiles says where uploads go.
    #[error("{} can be changed by others (mode {mode:04o}): run `chmod go-w {}`", path.display(), path.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file of profiles is no such file.
    #[error("{} cannot be read as a file of profiles", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ProfileError,
    },
    /// There is no such profile.
    #[error("there is no profile {0:?}: correct AWS_PROFILE, or add it to ~/.aws/credentials")]
    NoProfile(String),
    /// A profile that says too little.
    #[error(
        "the profile {0:?} gives no credentials: add aws_access_key_id and aws_secret_access_key, or role_arn and web_identity_token_file"
    )]
    EmptyProfile(String),
    /// A profile that needs what is not here.
    #[error(
        "the profile {name:?} takes its credentials from {key}, which is not supported; give it aws_access_key_id and aws_secret_access_key, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY with what that program prints"
    )]
    UnsupportedProfile {
        /// Its name.
        name: String,
        /// The setting.
        key: &'static str,
    },
    /// Nobody knows where profiles are.
    #[error(
        "AWS_PROFILE is set, but HOME is not: set AWS_SHARED_CREDENTIALS_FILE or AWS_CONFIG_FILE to the file that has the profile"
    )]
    NoHome,
    /// Not where a container's credentials come from.
    #[error(
        "{0:?} gives no credentials of a container: expected https, or http to this machine or to 169.254.170.2 or 169.254.170.23, with a path"
    )]
    Container(String),
}

/// All that it takes to reach the store.
#[derive(Clone)]
pub struct S3Settings {
    location: S3Url,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) region: String,
    pub(super) virtual_host: bool,
    pub(super) cacert: Option<PathBuf>,
    pub(super) credentials: Credentials,
}

/// Who asks.
#[derive(Clone)]
pub(super) enum Credentials {
    /// A key as it is.
    Key {
        id: String,
        secret: Zeroizing<String>,
        token: Option<Zeroizing<String>>,
    },
    /// A token that a service for temporary keys takes.
    WebIdentity {
        token_file: String,
        role_arn: String,
        session_name: Option<String>,
        sts_endpoint: Option<Endpoint>,
    },
    /// A path on the service that a container has.
    ContainerPath(String),
    /// A service that a container has, and what it wants to see.
    ContainerService { url: String, token_file: String },
}

impl S3Settings {
    /// Puts together what the configuration and the environment say; reads the files of profiles where `AWS_PROFILE` or
    /// `AWS_SHARED_CREDENTIALS_FILE` is set.
    pub fn new(
        location: S3Url,
        options: S3Options,
        environment: &AwsEnvironment,
    ) -> Result<Self, S3SettingsError> {
        let environment = &environment.without_empty();
        let profile = environment.profile()?;
        let of_profile = profile.as_ref().map(|(_, profile)| profile.clone());
        let of_profile = of_profile.unwrap_or_default();
        let endpoint = (options.endpoint)
            .or_else(|| environment.endpoint.clone())
            .or(of_profile.endpoint)
            .map(|text| endpoint(&text, options.allow_http))
            .transpose()?;
        let region = (options.region)
            .or_else(|| environment.region.clone())
            .or(of_profile.region)
            .unwrap_or_else(|| DEFAULT_REGION.to_owned());
        if !is_region(&region) {
            return Err(S3SettingsError::Region(region));
        }
        Ok(Self {
            location,
            endpoint,
            region,
            virtual_host: options.virtual_host,
            cacert: (options.cacert)
                .or_else(|| environment.ca_bundle.clone())
                .or(of_profile.ca_bundle.map(PathBuf::from)),
            credentials: environment.credentials(profile, options.allow_http)?,
        })
    }

    /// The bucket and prefix.
    pub fn location(&self) -> &S3Url {
        &self.location
    }

    /// Where the engine is, for messages.
    pub(super) fn engine_name(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.to_string(),
            None => format!("Amazon S3 in {}", self.region),
        }
    }
}

/// An address to be shown: what stands before an `@` may be a password.
fn shown(text: &str) -> String {
    let after = text.rsplit_once('@').map_or(text, |(_, after)| after);
    after.chars().take(200).collect()
}

fn endpoint(text: &str, allow_http: bool) -> Result<Endpoint, S3SettingsError> {
    let endpoint: Endpoint =
        (text.parse()).map_err(|source| S3SettingsError::Endpoint(shown(text), source))?;
    if endpoint.is_plain() && !endpoint.is_loopback() && !allow_http {
        return Err(S3SettingsError::PlainHttp(endpoint.to_string()));
    }
    Ok(endpoint)
}

/// A region is part of a host's name, and of what is signed.
fn is_region(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

impl AwsEnvironment {
    fn without_empty(&self) -> Self {
        fn text(value: Option<&String>) -> Option<String> {
            value.cloned().filter(|text| !text.is_empty())
        }
        fn secret(value: Option<&Zeroizing<String>>) -> Option<Zeroizing<String>> {
            value.cloned().filter(|text| !text.is_empty())
        }
        fn path(value: Option<&PathBuf>) -> Option<PathBuf> {
            value.cloned().filter(|path| !path.as_os_str().is_empty())
        }
        Self {
            access_key_id: text(self.access_key_id.as_ref()),
            secret_access_key: secret(self.secret_access_key.as_ref()),
            session_token: secret(self.session_token.as_ref()),
            profile: text(self.profile.as_ref()),
            shared_credentials_file: path(self.shared_credentials_file.as_ref()),
            config_file: path(self.config_file.as_ref()),
            web_identity_token_file: path(self.web_identity_token_file.as_ref()),
            role_arn: text(self.role_arn.as_ref()),
            role_session_name: text(self.role_session_name.as_ref()),
            sts_endpoint: text(self.sts_endpoint.as_ref()),
            container_credentials_relative_uri: text(
                self.container_credentials_relative_uri.as_ref(),
            ),
            container_credentials_full_uri: text(self.container_credentials_full_uri.as_ref()),
            container_authorization_token_file: path(
                self.container_authorization_token_file.as_ref(),
            ),
            region: text(self.region.as_ref()),
            endpoint: text(self.endpoint.as_ref()),
            ca_bundle: path(self.ca_bundle.as_ref()),
            home: path(self.home.as_ref()),
        }
    }

    /// The profile that is asked for, and its name.
    fn profile(&self) -> Result<Option<(String, AwsProfile)>, S3SettingsError> {
        let name = match (&self.profile, &self.shared_credentials_file) {
            (Some(name), _) => name.clone(),
            (None, Some(_)) => "default".to_owned(),
            (None, None) => return Ok(None),
        };
        let files = [
            (
                &self.shared_credentials_file,
                CREDENTIALS_FILE,
                ProfileFile::Credentials,
            ),
            (&self.config_file, CONFIG_FILE, ProfileFile::Config),
        ];
        let mut found: Option<AwsProfile> = None;
        let mut looked = false;
        for (named, usual, file) in files {
            let Some(path) = (named.clone()).or_else(|| Some(self.home.as_ref()?.join(usual)))
            else {
                continue;
            };
            looked = true;
            let Some(text) = read(&path, named.is_some())? else {
                continue;
            };
            let profile = AwsProfile::parse(&text, &name, file)
                .map_err(|source| S3SettingsError::File { path, source })?;
            found = match (found, profile) {
                (Some(first), Some(second)) => Some(first.or(second)),
                (first, second) => first.or(second),
            };
        }
        if !looked {
            return Err(S3SettingsError::NoHome);
        }
        match found {
            Some(profile) => Ok(Some((name, profile))),
            None => Err(S3SettingsError::NoProfile(name)),
        }
    }

    fn credentials(
        &self,
        profile: Option<(String, AwsProfile)>,
        allow_http: bool,
    ) -> Result<Credentials, S3SettingsError> {
        let sts_endpoint = || {
            let text = self.sts_endpoint.as_deref();
            text.map(|text| endpoint(text, allow_http)).transpose()
        };
        let half = |given, missing| Err(S3SettingsError::Half { given, missing });
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(id), Some(secret)) => {
                return Ok(Credentials::Key {
                    id: id.clone(),
                    secret: secret.clone(),
                    token: self.session_token.clone(),
                });
            }
            (Some(_), None) => return half("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            (None, Some(_)) => return half("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
            (None, None) => {}
        }
        match (&self.web_identity_token_file, &self.role_arn) {
            (Some(file), Some(role_arn)) => {
                return Ok(Credentials::WebIdentity {
                    token_file: file.display().to_string(),
                    role_arn: role_arn.clone(),
                    session_name: self.role_session_name.clone(),
                    sts_endpoint: sts_endpoint()?,
                });
            }
            (Some(_), None) => return half("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
            // A role alone is also set where a profile or a container gives the credentials.
            (None, _) => {}
        }
        match profile {
            Some((name, profile)) => of_profile(name, profile, sts_endpoint()?),
            None => self.of_container(),
        }
    }

    fn of_container(&self) -> Result<Credentials, S3SettingsError> {
        if let Some(path) = &self.container_credentials_relative_uri {
            if !path.starts_with('/') {
                return Err(S3SettingsError::Container(path.clone()));
            }
            return Ok(Credentials::ContainerPath(path.clone()));
        }
        let Some(url) = &self.container_credentials_full_uri else {
            return Err(S3SettingsError::NoCredentials);
        };
        let Some(file) = &self.container_authorization_token_file else {
            return Err(S3SettingsError::Half {
                given: "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                missing: "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            });
        };
        if !is_container_service(url) {
            return Err(S3SettingsError::Container(url.clone()));
        }
        Ok(Credentials::ContainerService {
            url: url.clone(),
            token_file: file.display().to_string(),
        })
    }
}

fn of_profile(
    name: String,
    profile: AwsProfile,
    sts_endpoint: Option<Endpoint>,
) -> Result<Credentials, S3SettingsError> {
    if let (Some(id), Some(secret)) = (profile.access_key_id, profile.secret_access_key) {
        let token = profile.session_token;
        return Ok(Credentials::Key { id, secret, token });
    }
    if let (Some(token_file), Some(role_arn)) = (profile.web_identity_token_file, profile.role_arn)
    {
        return Ok(Credentials::WebIdentity {
            token_file,
            role_arn,
            session_name: profile.role_session_name,
            sts_endpoint,
        });
    }
    match profile.unsupported {
        Some(key) => Err(S3SettingsError::UnsupportedProfile { name, key }),
        None => Err(S3SettingsError::EmptyProfile(name)),
    }
}

/// Whether credentials may be asked for there: what goes in the clear stays on this machine or the host's link.
fn is_container_service(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let host = rest.split('/').next().unwrap_or_default();
    let Ok(endpoint) = format!("{scheme}://{host}").parse::<Endpoint>() else {
        return false;
    };
    let linked = [
        "http://169.254.170.2",
        "http://169.254.170.23",
        "http://[fd00:ec2::23]",
    ];
    !endpoint.is_plain() || endpoint.is_loopback() || linked.contains(&&*endpoint.to_string())
}

/// The text of a file of profiles; `None` where it is not there and nobody said that it is.
fn read(path: &Path, named: bool) -> Result<Option<Zeroizing<String>>, S3SettingsError> {
    let failed = |source| S3SettingsError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & GROUP_AND_OTHERS_WRITE != 0 {
        let path = path.to_owned();
        return Err(S3SettingsError::Writable { path, mode });
    }
    let mut text = Zeroizing::new(String::new());
    let read = file.take(profile::MAX_FILE + 1).read_to_string(&mut text);
    if read.map_err(failed)? as u64 > profile::MAX_FILE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests;
