//! What went wrong, in the words of the reader.

use maud::html;

use super::languages::fill;
use super::{Content, Place, Reader, sizes};

/// The title, and what is said. A problem that has no words of its own is told in those of its answer to programs: it is
/// one that only those come across who know what they do.
pub(super) fn content(reader: Reader<'_>, code: &str, detail: &str) -> (&'static str, Content) {
    let language = reader.language;
    let words = match code {
        "empty-form" if !reader.fields().is_empty() => "empty-form-with-fields",
        code => code,
    };
    let (problem, detail) = match language.problem(words) {
        Some(problem) => (problem, None),
        None => (language.other_problem(), Some(detail)),
    };
    let limit = sizes::limit(reader.max_file());
    let is_dead = matches!(reader.place, Place::DeadLink);
    let (before, after) = language
        .problem
        .code
        .split_once("{code}")
        .unwrap_or((&language.problem.code, ""));
    let main = html! {
        div.problem {
            h1 { (problem.title) }
            p.lead { (fill(&problem.text, &[("limit", &limit)])) }
            @if !is_dead { p { a.button href=(reader.home()) { (language.problem.back) } } }
            p.code { (before) code { (code) } (after) }
            @if let Some(detail) = detail {
                p.code lang="en" dir="ltr" { (detail) }
            }
        }
    };
    let content = Content {
        main,
        address: Some(reader.form_address().to_owned()),
        ..Content::default()
    };
    (&problem.title, content)
}
