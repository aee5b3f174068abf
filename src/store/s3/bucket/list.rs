//! Lists of a bucket, page by page.

use object_store::list::PaginatedListResult;

use super::error::BucketError;
use super::requests::{ListPage, MAX_KEYS, Requests};
use super::{ETag, Folders, Listed, Page};

/// Pages that an engine may answer beyond those that are needed: some have fewer keys than were asked for.
const MORE_PAGES: usize = 1000;

/// An engine lists something else than it was asked for.
const FOREIGN: BucketError = BucketError::Unfit("its list has objects that nobody asked for");

/// Keys that begin with `prefix`, in order, behind `after`, at most `most`.
pub(super) async fn objects(
    requests: &Requests,
    prefix: &str,
    after: Option<&str>,
    most: usize,
) -> Result<Page, BucketError> {
    let mut page = Page::default();
    let mut pages = Pages::new(false, after.map(str::to_owned), most);
    while let Some(answer) = pages.next(requests, prefix, page.objects.len()).await? {
        for object in answer.result.objects {
            let key = requests.listed(&object.location)?;
            if !key.starts_with(prefix) {
                return Err(FOREIGN);
            }
            let last = page
                .objects
                .last()
                .map(|last: &Listed| &*last.key)
                .or(after);
            if !follows(last, &key, page.objects.is_empty())? {
                continue;
            }
            page.objects.push(Listed {
                key,
                size: object.size,
                modified: object.last_modified.into(),
                etag: object.e_tag.map(ETag),
            });
        }
    }
    page.more = pages.more() || page.objects.len() > most;
    page.objects.truncate(most);
    Ok(page)
}

/// Names of folders right below `prefix`, in order, behind `after`, at most `most`.
pub(super) async fn folders(
    requests: &Requests,
    prefix: &str,
    after: Option<&str>,
    most: usize,
) -> Result<Folders, BucketError> {
    let mut found = Folders::default();
    // Behind everything in that folder: no name of a store has a `~`.
    let behind = after.map(|after| format!("{prefix}{after}/~"));
    let mut pages = Pages::new(true, behind, most);
    let mut last = after.map(|after| format!("{after}/"));
    while let Some(answer) = pages.next(requests, prefix, found.names.len()).await? {
        for folder in answer.result.common_prefixes {
            let key = requests.listed(&folder)?;
            let name = key.strip_prefix(prefix).ok_or(FOREIGN)?;
            let sorted = format!("{name}/");
            if !follows(last.as_deref(), &sorted, found.names.is_empty())? {
                continue;
            }
            found.names.push(name.to_owned());
            last = Some(sorted);
        }
    }
    found.more = pages.more() || found.names.len() > most;
    found.names.truncate(most);
    Ok(found)
}

/// Whether a key is behind the last one. Engines may repeat what the list begins after, but everything else has its order: that of
/// the keys' bytes, as S3 promises, or that of a tree of folders, where `a/` stands before `a-b/`. The names of a store are such that
/// both are the same.
fn follows(last: Option<&str>, key: &str, first: bool) -> Result<bool, BucketError> {
    match last {
        Some(last) if key <= last && key.split('/').le(last.split('/')) => {
            if first {
                Ok(false)
            } else {
                Err(BucketError::Unfit("its lists are not in order"))
            }
        }
        _ => Ok(true),
    }
}

/// Asks for one page after the other.
struct Pages {
    folders: bool,
    after: Option<String>,
    most: usize,
    token: Option<String>,
    left: usize,
    begun: bool,
}

impl Pages {
    fn new(folders: bool, after: Option<String>, most: usize) -> Self {
        Self {
            folders,
            after,
            most,
            token: None,
            left: most / MAX_KEYS + MORE_PAGES,
            begun: false,
        }
    }

    /// The next page, where more than the `found` ones are wanted and there is one.
    async fn next(
        &mut self,
        requests: &Requests,
        prefix: &str,
        found: usize,
    ) -> Result<Option<PaginatedListResult>, BucketError> {
        if found >= self.most || (self.begun && self.token.is_none()) {
            return Ok(None);
        }
        self.left = (self.left.checked_sub(1))
            .ok_or(BucketError::Unfit("its lists do not come to an end"))?;
        self.begun = true;
        let ask = ListPage {
            after: self.after.clone(),
            token: self.token.take(),
            folders: self.folders,
            most: self.most - found,
        };
        let mut answer = requests.list_page(prefix, ask).await?;
        self.token = answer.page_token.take().filter(|token| !token.is_empty());
        Ok(Some(answer))
    }

    fn more(&self) -> bool {
        self.token.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_begins_after_may_be_repeated_and_nothing_else() {
        assert!(follows(None, "a", true).unwrap());
        assert!(follows(Some("a"), "b", true).unwrap());
        assert!(!follows(Some("a"), "a", true).unwrap());
        assert!(!follows(Some("b"), "a", true).unwrap());
        assert!(follows(Some("a"), "b", false).unwrap());
        // As in a tree of folders, and as in a list of keys.
        assert!(follows(Some("a/x"), "a-b/x", false).unwrap());
        assert!(follows(Some("a-b/x"), "a/x", false).unwrap());
        for key in ["a", "b"] {
            assert!(matches!(
                follows(Some("b"), key, false),
                Err(BucketError::Unfit(_))
            ));
        }
    }
}
