//! Which uploads are to become one (tus, "Upload-Concat").

use http::HeaderMap;

use super::UPLOAD_CONCAT;
use crate::http::problem::Problem;
use crate::upload::{Role, UploadUrl};

/// Reads the header: what part the new upload plays, and of a final one its parts, in order.
pub(super) fn role(headers: &HeaderMap) -> Result<(Role, Option<Vec<UploadUrl>>), Problem> {
    let Some(value) = headers.get(UPLOAD_CONCAT) else {
        return Ok((Role::Whole, None));
    };
    let malformed =
        || Problem::malformed_tus("Upload-Concat is partial, or final; and the URLs of the parts.");
    let text = value.to_str().map_err(|_| malformed())?;
    if text == "partial" {
        return Ok((Role::Partial, None));
    }
    let urls = text.strip_prefix("final;").ok_or_else(malformed)?;
    let parts = urls.split(' ').filter(|url| !url.is_empty()).map(part);
    let parts = parts
        .collect::<Option<Vec<_>>>()
        .ok_or_else(Problem::not_found)?;
    if parts.is_empty() {
        return Err(malformed());
    }
    Ok((Role::Final(text.to_owned()), Some(parts)))
}

/// A part by its URL, absolute or relative. Which host it names does not matter: behind a proxy it is another than ours, and
/// the secret says whose it is.
fn part(url: &str) -> Option<UploadUrl> {
    let path = url.split(['?', '#']).next()?;
    path.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<(Role, Option<Vec<UploadUrl>>), Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(UPLOAD_CONCAT, value.parse().unwrap());
        role(&headers)
    }

    #[test]
    fn parts_are_found_by_absolute_and_relative_urls() {
        let segment = format!("{}.{}", "0".repeat(32), "1".repeat(32));
        let value = format!(
            "final;/uploads/{segment} https://proxy.example:1/uploads/{segment}  {segment}"
        );
        let (role, parts) = read(&value).ok().unwrap();
        assert!(role == Role::Final(value));
        assert_eq!(parts.unwrap().len(), 3);
        assert!(matches!(read("partial"), Ok((Role::Partial, None))));
        for value in [
            "",
            "final",
            "final;",
            "final; ",
            "Partial",
            "final;/uploads/x",
        ] {
            assert!(read(value).is_err(), "{value}");
        }
    }
}
