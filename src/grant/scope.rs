//! What a caller may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One thing that a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Create uploads.
    Upload,
    /// List uploads and fetch their sealed files.
    Read,
    /// Everything.
    Admin,
}

impl Scope {
    const ALL: [Self; 3] = [Self::Upload, Self::Read, Self::Admin];

    /// As it is written: `upload`, `read` or `admin`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Upload => 0b001,
            Self::Read => 0b010,
            // Whoever may everything may also do what the others may.
            Self::Admin => 0b111,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such scope: there are upload, read and admin, several separated by commas")]
pub struct ScopeError;

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let named = Self::ALL.into_iter().find(|scope| scope.name() == text);
        named.ok_or(ScopeError)
    }
}

/// A set of scopes, written like `upload,read`. The empty one cannot be read from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Scopes(u8);

impl Scopes {
    /// Nothing at all.
    pub const NONE: Self = Self(0);

    /// Whether these let the caller do what `scope` is for.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bits() == scope.bits()
    }

    /// Both taken together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl From<Scope> for Scopes {
    fn from(scope: Scope) -> Self {
        Self(scope.bits())
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let add = |all: Self, scope: Scope| all.union(scope.into());
        scopes.into_iter().fold(Self::NONE, add)
    }
}

impl FromStr for Scopes {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        text.split(',').map(str::parse::<Scope>).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.contains(Scope::Admin) {
            return f.pad(Scope::Admin.name());
        }
        let those = Scope::ALL.into_iter().filter(|scope| self.contains(*scope));
        let names: Vec<_> = those.map(Scope::name).collect();
        f.pad(&names.join(","))
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_lets_do_its_own() {
        use Scope::{Admin, Read, Upload};
        for (text, may) in [
            ("upload", &[Upload][..]),
            ("read", &[Read]),
            ("read,upload", &[Upload, Read]),
            ("admin", &[Upload, Read, Admin]),
            ("upload,admin", &[Upload, Read, Admin]),
        ] {
            let scopes: Scopes = text.parse().unwrap();
            for scope in Scope::ALL {
                assert_eq!(
                    scopes.contains(scope),
                    may.contains(&scope),
                    "{text} {scope}"
                );
            }
            assert_eq!(scopes.to_string().parse(), Ok(scopes));
        }
        // Upload and read together are not everything, though they have its other bits.
        assert_eq!(
            "read,upload".parse::<Scopes>().unwrap().to_string(),
            "upload,read"
        );
        assert!(
            Scope::ALL
                .iter()
                .all(|scope| !Scopes::NONE.contains(*scope))
        );
    }

    #[test]
    fn anything_else_is_no_scope() {
        for text in [
            "",
            ",",
            "upload,",
            "Upload",
            " upload",
            "upload read",
            "all",
        ] {
            assert_eq!(text.parse::<Scopes>(), Err(ScopeError), "{text:?}");
        }
    }
}
