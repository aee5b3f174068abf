//! Keys in files: reading recipients and identities, making key pairs, fingerprints, file permissions.
//!
//! What is accepted (DESIGN.md, sections 3.1 and 4.1):
//!
//! | | forms |
//! |---|---|
//! | recipients ([`read_recipients`]) | lines of `ssh-rsa`, `age1...` and `age1pq1...`, SPKI PEM, PKCS#1 PEM |
//! | identities ([`read_identities`]) | PKCS#8 PEM, plain or encrypted (PBES2); PKCS#1 PEM; OpenSSH private key, with or without a passphrase; lines of `AGE-SECRET-KEY-1...`, `AGE-SECRET-KEY-PQ-1...` and, where somebody can be asked, `AGE-PLUGIN-NAME-1...`; any of them in an age file that opens with a passphrase |
//!
//! Every RSA key has 2048 to 8192 bits, and a private key is checked whole before it is used. A private key file that
//! its group or others may read is refused. The plaintext of a private key lives in zeroized buffers here; the one
//! exception is what `rsa` and `ssh-key` keep while they parse.

mod error;
mod generate;
mod identities;
mod numbers;
mod recipients;
mod sealed;
mod text;

#[cfg(test)]
mod tests;

pub use error::{KeyError, Place};
pub use generate::{KeypairFiles, generate, write_identity, write_keypair};
pub use identities::{PluginIdentity, read_identities, read_identities_and_plugins};
pub use recipients::{
    NamedRecipient, check_together, parse_recipients, read_recipients, recipient_files,
};

/// The shortest RSA modulus that is accepted, in bits.
pub const MIN_BITS: u32 = 2048;

/// The longest RSA modulus that is accepted, in bits. The `rsa` crate goes no further either.
pub const MAX_BITS: u32 = 8192;

/// The RSA modulus that [`generate()`] is meant to be called with, in bits. It has the strength of a 128-bit key (NIST
/// SP 800-57, part 1, table 2); a key below it is [weak](NamedRecipient::is_weak).
pub const DEFAULT_BITS: u32 = 3072;

/// The largest key file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
