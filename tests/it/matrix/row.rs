//! The table, read.

use std::fmt;

use http::Method;
use sealslot::http::ROUTES;

use super::callers::{CLOSED, FEW, OPEN, OPERATIONS};
use super::table::{CODES, TABLE};

/// All methods that are tried. `TRACE` and `PROPFIND` stand for those that are never answered.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND",
];

/// What somebody gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// This, with this code where it is refused.
    Answer(u16, Option<&'static str>),
    /// Nothing: the connection is not accepted.
    Silence,
    /// The same as the others of the row, and not asked for.
    Unasked,
}

impl Cell {
    fn read(text: &'static str) -> Self {
        if text == "-" {
            return Self::Silence;
        }
        let (status, _) = text.split_at(3);
        let status = status.parse().unwrap();
        let code = CODES.iter().find(|(cell, _)| *cell == text);
        assert_eq!(code.is_some(), status >= 400, "{text}");
        Self::Answer(status, code.map(|(_, code)| *code))
    }

    fn is_of_no_method(self) -> bool {
        matches!(self, Self::Answer(405, _) | Self::Silence | Self::Unasked)
    }

    pub(super) fn is_success(self) -> bool {
        matches!(self, Self::Answer(_, None))
    }
}

/// How many there are of what a row makes or removes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stock {
    pub(super) uploads: i64,
    pub(super) sessions: i64,
    pub(super) links: i64,
}

impl Stock {
    fn read(text: &str) -> Self {
        let mut made = Self::default();
        for word in text.split_whitespace() {
            let (sign, what) = word.split_at(1);
            let one = if sign == "-" { -1 } else { 1 };
            match what {
                "upload" => made.uploads = one,
                "session" => made.sessions = one,
                "link" => made.links = one,
                "hange" => {}
                _ => panic!("{word}"),
            }
        }
        made
    }

    pub(super) fn and(self, times: usize, other: Self) -> Self {
        let times = i64::try_from(times).unwrap();
        Self {
            uploads: self.uploads + times * other.uploads,
            sessions: self.sessions + times * other.sessions,
            links: self.links + times * other.links,
        }
    }
}

/// One row.
pub(super) struct Row {
    pub(super) route: &'static str,
    /// Those that answer to it; `None` for what leads nowhere.
    pub(super) allowed: Option<&'static str>,
    /// The methods as the table names them.
    named: &'static str,
    pub(super) methods: Vec<Method>,
    pub(super) how: Vec<&'static str>,
    /// What each request that succeeds makes; `None`: it changes nothing.
    pub(super) makes: Option<Stock>,
    pub(super) closed: Vec<Cell>,
    pub(super) open: Vec<Cell>,
    pub(super) operations: Vec<Cell>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.route, self.how.join(", "))
    }
}

impl Row {
    fn read(line: &'static str) -> Self {
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let [route, named, how, makes, closed, open, operations] = columns[..] else {
            panic!("{line}");
        };
        let nowhere = route.strip_prefix("! ");
        let listed = ROUTES.iter().find(|(name, _)| *name == route);
        assert_ne!(
            listed.is_some(),
            nowhere.is_some(),
            "no such route: {route}"
        );
        let allowed = listed.map(|(_, methods)| *methods);
        let is_allowed = |method: &&str| {
            allowed.is_some_and(|allowed| allowed.split(", ").any(|allowed| allowed == *method))
        };
        let methods: Vec<&str> = match named {
            "any" | "others" => METHODS
                .into_iter()
                .filter(|method| !is_allowed(method))
                .collect(),
            named => named.split(' ').collect(),
        };
        Self {
            route: nowhere.unwrap_or(route),
            allowed,
            named,
            methods: methods
                .iter()
                .map(|method| method.parse().unwrap())
                .collect(),
            how: how.split(", ").collect(),
            makes: (!makes.is_empty()).then(|| Stock::read(makes)),
            closed: cells(closed, &CLOSED),
            open: cells(open, &OPEN),
            operations: cells(operations, &OPERATIONS),
        }
    }

    pub(super) fn is(&self, word: &str) -> bool {
        self.how.contains(&word)
    }
}

fn cells(text: &'static str, callers: &[&str]) -> Vec<Cell> {
    let written: Vec<_> = text.split_whitespace().collect();
    let (all, few) = match written[..] {
        [cell] | [cell, "all"] => (Cell::read(cell), false),
        [cell, "few"] => (Cell::read(cell), true),
        _ => {
            assert_eq!(written.len(), callers.len(), "{text}");
            return written.into_iter().map(Cell::read).collect();
        }
    };
    let each = callers.iter().map(|caller| match *caller {
        caller if few && !FEW.contains(&caller) => Cell::Unasked,
        "crev" => Cell::Silence,
        _ => all,
    });
    each.collect()
}

/// All rows, in order.
pub(super) fn rows() -> Vec<Row> {
    let lines = TABLE.lines().filter(|line| !line.is_empty());
    lines.skip(1).map(Row::read).collect()
}

#[test]
fn every_route_and_method_has_a_row() {
    let rows = rows();
    for (route, methods) in ROUTES {
        let of_route = || {
            let rows = rows.iter();
            rows.filter(|row| row.allowed.is_some() && row.route == *route)
        };
        assert!(
            of_route().any(|row| row.named == "others"),
            "{route} by other methods"
        );
        for method in METHODS {
            let of_method =
                of_route().filter(|row| row.named.split(' ').any(|named| named == method));
            let is_answered = |row: &Row| row.closed.iter().any(|cell| !cell.is_of_no_method());
            let stated = |row: &&Row| !row.how.iter().any(|word| word.starts_with("means "));
            if methods.split(", ").any(|listed| listed == method) {
                // What `OPTIONS *` tells is what there is anywhere.
                let answered = of_method.clone().any(is_answered) || *route == "*";
                assert!(
                    answered && of_method.count() > 0,
                    "{route} by {method} has no row"
                );
            } else {
                assert!(
                    !of_method.filter(stated).any(is_answered),
                    "{route} by {method} is not listed"
                );
            }
        }
    }
    let head = TABLE.lines().find(|line| !line.is_empty()).unwrap();
    let columns: Vec<_> = head.split('|').collect();
    for (names, callers) in [
        (columns[4], &CLOSED[..]),
        (columns[5], &OPEN),
        (columns[6], &OPERATIONS),
    ] {
        assert_eq!(names.split_whitespace().collect::<Vec<_>>(), callers);
    }
}
