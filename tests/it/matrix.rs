//! Who gets what: every route and method, by every kind of caller, over all versions of HTTP. What is to come stands in one
//! table (`table.rs`), and everything here is made from it.

mod answers;
mod callers;
mod exchange;
mod requests;
mod row;
mod site;
mod table;

use std::collections::BTreeSet;

use http::Method;

use crate::client::{Answer, Protocol};
use crate::program::Bench;
use callers::{CLOSED, Caller, Certificates, OPEN, OPERATIONS};
use exchange::Lines;
use requests::request;
use row::{Cell, Row, rows};
use site::Site;

/// One square of the table.
#[derive(Clone, Copy)]
struct Square<'a> {
    row: &'a Row,
    method: &'a Method,
    caller: &'a Caller,
    cell: Cell,
}

/// What was refused and has been looked at as people see it.
type Seen = BTreeSet<(String, &'static str)>;

/// A table that is played, and what was not as it says.
struct Game<'a> {
    site: Site<'a>,
    seen: Seen,
    wrong: Vec<String>,
}

impl<'a> Game<'a> {
    fn new(site: Site<'a>) -> Self {
        Self {
            site,
            seen: Seen::new(),
            wrong: Vec::new(),
        }
    }

    /// Plays all rows, with the cells that belong to these callers.
    fn play<const N: usize>(
        &mut self,
        rows: &[Row],
        callers: [&'static str; N],
        cells: impl Fn(&Row) -> &[Cell],
    ) {
        let callers = callers.map(|name| self.site.credentials.caller(name));
        for row in rows {
            self.play_row(row, &callers, cells(row));
        }
    }

    /// Everything was as the table says.
    fn end(self) {
        let log = self.site.server.log();
        assert!(
            !self
                .site
                .secrets()
                .iter()
                .any(|secret| log.contains(secret))
        );
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
    }

    /// First all who are refused, who change nothing, and then the others, who make what the row says.
    fn play_row(&mut self, row: &Row, callers: &[Caller], cells: &[Cell]) {
        let squares = row.methods.iter().flat_map(|method| {
            let squares = callers.iter().zip(cells);
            let squares = squares.filter(|(_, cell)| **cell != Cell::Unasked);
            squares.map(move |(caller, cell)| Square {
                row,
                method,
                caller,
                cell: *cell,
            })
        });
        let (good, refused): (Vec<_>, Vec<_>) =
            squares.partition(|square| square.cell.is_success());
        let path = self.site.path(row, false);
        let mut before = self.site.holdings();
        if !refused.is_empty() {
            for square in refused {
                self.play_square(square, &path);
            }
            let after = self.site.holdings();
            if after != before {
                self.wrong
                    .push(format!("{row}: who was refused changed something"));
            }
            before = after;
        }
        if good.is_empty() {
            return;
        }

        let changes = row.makes.is_some();
        let paths = good.iter().map(|_| self.site.path(row, changes));
        let paths: Vec<_> = paths.collect();
        if changes {
            before = self.site.holdings();
        }
        for (square, path) in good.iter().zip(&paths) {
            self.play_square(*square, path);
        }
        let after = self.site.holdings();
        let (found, expected) = (
            after.stock(),
            before
                .stock()
                .and(good.len(), row.makes.unwrap_or_default()),
        );
        if found != expected || (after != before) != changes {
            self.wrong
                .push(format!("{row}: {found:?} in place of {expected:?}"));
        }
    }

    fn play_square(&mut self, square: Square<'_>, path: &str) {
        let Square {
            row,
            method,
            caller,
            cell,
        } = square;
        let at = format!("{method} {row} by {}", caller.name);
        let Some(answer) = self.ask(square, path, &[], &at) else {
            return;
        };
        let Cell::Answer(_, code) = cell else {
            return;
        };
        for fault in answers::faults(row, method, code, &answer) {
            self.wrong.push(format!("{at}: {fault} in {answer:?}"));
        }
        let Some(code) = code.filter(|_| method != Method::HEAD) else {
            return;
        };
        if self.seen.insert((format!("{method} {row}"), code)) {
            for language in ["en", "ko"] {
                let as_people = [("accept", "text/html"), ("accept-language", language)];
                let answer = self.ask(square, path, &as_people, &at);
                if !answer.is_some_and(|answer| answers::has_words(language, code, &answer)) {
                    self.wrong
                        .push(format!("{at}: no words for {code} in {language}"));
                }
            }
        }
    }

    /// Asks, and gives the answer, where it is what the square says.
    fn ask(
        &mut self,
        square: Square<'_>,
        path: &str,
        headers: &[(&'static str, &str)],
        at: &str,
    ) -> Option<Answer> {
        let Square {
            row,
            method,
            caller,
            cell,
        } = square;
        let mut request = request(method, path, &row.how, caller, &self.site.sealed);
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let has_body = !request.body().is_empty();
        let said = self
            .site
            .lines
            .ask(caller.certificate, request, cell.is_success());
        let (said, status) = match (said, cell) {
            (Err(_), Cell::Silence | Cell::Unasked) => return None,
            (Ok(said), Cell::Answer(status, _)) => (said, status),
            (Err(error), _) => {
                self.wrong.push(format!("{at}: no answer: {error}"));
                return None;
            }
            (Ok(said), _) => {
                self.wrong
                    .push(format!("{at}: {:?} in place of nothing", said.answer));
                return None;
            }
        };
        if said.answer.status != status {
            let (found, body) = (said.answer.status, said.answer.text());
            self.wrong
                .push(format!("{at}: {found} in place of {status}: {body}"));
            return None;
        }
        if said.asked_for != (has_body && cell.is_success()) {
            self.wrong
                .push(format!("{at}: whether the body is asked for"));
        }
        // The page of a link names the link.
        let mut secrets = self.site.secrets();
        secrets.retain(|secret| !(path.starts_with("/d/") && path.contains(secret)));
        if answers::tells(&secrets, &said.answer) {
            self.wrong.push(format!("{at}: a secret in the answer"));
        }
        Some(said.answer)
    }
}

fn play(protocol: Protocol) {
    let rows = rows();
    let certificates = Certificates::new();
    let bench = Bench::in_memory();
    let mut closed = Game::new(Site::closed(&bench, &certificates, protocol));
    closed.play(&rows, CLOSED, |row| &row.closed);
    let server = &closed.site.server;
    // Operations are not served over HTTP/3.
    let protocol_of_operations = match protocol {
        Protocol::Http3 => Protocol::Http2,
        protocol => protocol,
    };
    closed.site.lines = Lines::new(
        server.operations(),
        &server.ca(),
        &certificates,
        protocol_of_operations,
    );
    closed.play(&rows, OPERATIONS, |row| &row.operations);
    closed.end();

    let bench = Bench::in_memory();
    let mut open = Game::new(Site::open(&bench, &certificates, protocol));
    open.play(&rows, OPEN, |row| &row.open);
    open.end();
}

#[test]
fn everybody_gets_what_is_theirs_over_http1() {
    play(Protocol::Http1);
}

#[test]
fn everybody_gets_what_is_theirs_over_http2() {
    play(Protocol::Http2);
}

#[test]
fn everybody_gets_what_is_theirs_over_http3() {
    play(Protocol::Http3);
}
