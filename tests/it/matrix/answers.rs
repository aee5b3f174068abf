//! What holds for every answer.

use http::Method;

use super::row::Row;
use crate::client::Answer;

/// The titles of what is said of problems that there are no words for.
const WITHOUT_WORDS: [&str; 2] = ["That did not work", "보내지 못했습니다"];

/// What an answer lacks of what every one has, and every one with this status.
pub(super) fn faults(
    row: &Row,
    method: &Method,
    code: Option<&str>,
    answer: &Answer,
) -> Vec<&'static str> {
    let header = |name: &str| {
        answer
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap())
    };
    let has = |name: &str| header(name).is_some();
    let (status, is_head) = (answer.status, method == Method::HEAD);
    let tells_methods = status == 405 || method == Method::OPTIONS && status == 204;
    let holds = [
        (
            "WWW-Authenticate",
            has("www-authenticate") == (status == 401),
        ),
        (
            "Retry-After",
            has("retry-after") == [429, 503].contains(&status),
        ),
        (
            "Allow",
            header("allow") == row.allowed.filter(|_| tells_methods),
        ),
        (
            "nosniff",
            header("x-content-type-options") == Some("nosniff"),
        ),
        ("no body of HEAD", !is_head || answer.body.is_empty()),
        (
            "a problem document",
            code.is_none_or(|code| is_problem(answer, code, is_head)),
        ),
    ];
    let faults = holds.iter().filter(|(_, holds)| !holds);
    faults.map(|(what, _)| *what).collect()
}

fn is_problem(answer: &Answer, code: &str, is_head: bool) -> bool {
    let is_typed = answer.header("content-type") == "application/problem+json";
    if !is_typed || is_head {
        return is_typed;
    }
    let problem = answer.json();
    let is_said = |member: &str| {
        problem[member]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    };
    problem["code"] == code
        && problem["status"] == answer.status
        && is_said("title")
        && is_said("detail")
}

/// Whether a refusal is told to people in words of this language that are its own.
pub(super) fn has_words(language: &str, code: &str, answer: &Answer) -> bool {
    let page = answer.text();
    answer.header("content-type") == "text/html; charset=utf-8"
        && page.contains(&format!("<html lang=\"{language}\""))
        && page.contains(&format!("<code>{code}</code>"))
        && WITHOUT_WORDS.iter().all(|title| !page.contains(title))
}

/// Whether an answer tells one of these.
pub(super) fn tells(secrets: &[&str], answer: &Answer) -> bool {
    let values = answer.headers.values().map(http::HeaderValue::as_bytes);
    let texts: Vec<_> = values.chain([&answer.body[..]]).collect();
    let text = texts.join(&b'\n');
    let text = String::from_utf8_lossy(&text);
    secrets.iter().any(|secret| text.contains(secret))
}
