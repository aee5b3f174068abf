//! One upload: fetched, sealed anew, put back.

use super::super::Failure;
use super::super::filters::FilterArgs;
use super::super::stored::{Found, as_listed};
use super::place::{Target, Trouble};
use super::report::Outcome;
use super::sealed_to::is_sealed_to;
use crate::keys::NamedRecipient;
use crate::seal::{self, Header, Identity, Recipient};
use crate::store::{SealedFile, UploadId};
use crate::upload::{Record, Rewrapped, rewrap_headers};

/// How often it is begun anew where somebody else was quicker.
const TRIES: u32 = 5;
/// The most bytes of old headers that are held of one upload. A server takes less of new ones.
const MAX_HEADERS: usize = 256 << 20;
const UNOPENED: &str =
    "no key that was given with -i opens it: it has keys of its own, or was rewrapped before";

/// The private keys at hand, and the keys to seal to.
pub(super) struct Keys {
    identities: Vec<Identity>,
    to: Vec<Recipient>,
    /// Where in `identities` the private half of each of `to` is.
    halves: Vec<Option<usize>>,
}

impl Keys {
    pub(super) fn new(identities: Vec<Identity>, to: &[NamedRecipient]) -> Self {
        // What is not in a file of its own, a plugin say, does not tell whose it is.
        let own: Vec<Option<String>> = identities
            .iter()
            .map(|identity| {
                let recipient = identity.to_recipient()?;
                Some(NamedRecipient::new(recipient, "").fingerprint())
            })
            .collect();
        let half = |key: &NamedRecipient| {
            let fingerprint = Some(key.fingerprint());
            own.iter().position(|own| *own == fingerprint)
        };
        Self {
            halves: to.iter().map(half).collect(),
            to: to.iter().map(|key| key.recipient.clone()).collect(),
            identities,
        }
    }

    /// Whether one of the private keys opens what will be sealed.
    pub(super) fn has_private_half(&self) -> bool {
        self.halves.iter().any(Option::is_some)
    }

    fn are_all_of(&self, header: &Header) -> bool {
        let half = |half: &Option<usize>| half.map(|index| &self.identities[index]);
        let to: Vec<_> = self
            .to
            .iter()
            .cloned()
            .zip(self.halves.iter().map(half))
            .collect();
        is_sealed_to(header, &to)
    }
}

/// What is to be done with each.
pub(super) struct Work<'a> {
    pub(super) target: &'a Target,
    pub(super) keys: &'a Keys,
    pub(super) filter: &'a FilterArgs,
    pub(super) full: bool,
    pub(super) dry_run: bool,
}

impl Work<'_> {
    /// Seals one upload anew. `None`: the command is not about it. A failure is not about this one alone.
    pub(super) fn on(&self, found: &Found) -> Result<Option<Outcome>, Failure> {
        let is_other = |listed| !self.filter.takes(listed);
        if found.listed.as_ref().is_some_and(is_other) || self.filter.ends_before(found.id.time()) {
            return Ok(None);
        }
        let mut was_sent = false;
        for _ in 0..TRIES {
            match self.try_on(&found.id, &mut was_sent) {
                // An answer that was lost on its way may have been that it is done.
                Ok(Some(Outcome::Already)) if was_sent => return Ok(Some(Outcome::Rewrapped)),
                Err(Trouble::Changed) => {}
                Err(Trouble::Gone) => return Ok(Some(Outcome::Gone)),
                Err(Trouble::Unopened) => return Ok(Some(Outcome::Unopened(UNOPENED.to_owned()))),
                Err(Trouble::Refused(why)) => return Ok(Some(Outcome::Refused(why))),
                Err(Trouble::Failed(failure)) => return Err(failure),
                Ok(outcome) => return Ok(outcome),
            }
        }
        let why = "somebody else writes it anew all the time".to_owned();
        Ok(Some(Outcome::Refused(why)))
    }

    fn try_on(&self, id: &UploadId, was_sent: &mut bool) -> Result<Option<Outcome>, Trouble> {
        let meta = self.target.meta(id)?;
        let Ok(Some((header, _))) = Header::parse(&meta) else {
            return Err(refused("meta.age is damaged"));
        };
        let Some(record) = Record::in_header(&header) else {
            return Err(refused("meta.age holds no record that can be read"));
        };
        if !self.filter.takes(&as_listed(&record)) {
            return Ok(None);
        }
        let mut is_done = self.keys.are_all_of(&header);
        let headers = if self.full {
            let mut headers = Vec::with_capacity(record.files.len());
            let mut held = 0;
            for (number, _) in (0..).zip(&record.files) {
                let (header, bytes) = self.target.header(id, SealedFile::Segment(number))?;
                held += bytes.len();
                if held > MAX_HEADERS {
                    return Err(refused("its headers are longer than 256 MiB together"));
                }
                is_done = is_done && self.keys.are_all_of(&header);
                headers.push(bytes);
            }
            Some(headers)
        } else {
            None
        };
        if is_done {
            return Ok(Some(Outcome::Already));
        }
        let new = self.seal_anew(id, &meta, headers.as_deref())?;
        if !self.dry_run {
            *was_sent = true;
            self.target.put(id, &meta, &new)?;
        }
        Ok(Some(Outcome::Rewrapped))
    }

    fn seal_anew(
        &self,
        id: &UploadId,
        meta: &[u8],
        headers: Option<&[Vec<u8>]>,
    ) -> Result<Rewrapped, Trouble> {
        let Keys { identities, to, .. } = self.keys;
        let new = rewrap_headers(meta, headers, id, identities, to)?;
        // Its file key has opened it. Where a private key is at hand, that its wrapping opens is certain too.
        if self.keys.has_private_half() && seal::open(&new.meta, identities).is_err() {
            return Err(refused(
                "what was sealed anew does not open: look after this machine's memory",
            ));
        }
        Ok(new)
    }
}

fn refused(why: &str) -> Trouble {
    Trouble::Refused(why.to_owned())
}
