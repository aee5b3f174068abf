//! Expiration.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{OCTETS, extensions};
use crate::client::Answer;
use crate::resumable::over_both;
use crate::server::wait_until;
use crate::store::only_in_a_folder;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// The seconds since 1970 of an IMF-fixdate (RFC 9110, section 5.6.7), such as `Sun, 06 Nov 1994 08:49:37 GMT`.
#[track_caller]
fn seconds(date: &str) -> u64 {
    assert_eq!(date.len(), 29, "{date}");
    let number = |at: std::ops::Range<usize>| date[at].parse::<u64>().expect(date);
    let month = MONTHS.iter().position(|month| *month == &date[8..11]);
    // Counted from March, the month with the odd number of days is the last (Howard Hinnant's algorithm).
    let month = u64::try_from(month.expect(date)).unwrap();
    let (year, month) = (number(12..16) - u64::from(month < 2), (month + 10) % 12);
    let days = year * 365 + year / 4 - year / 100 + year / 400;
    let days = days + (153 * month + 2) / 5 + number(5..7) - 1 - 719_468;
    let time = (number(17..19) * 60 + number(20..22)) * 60 + number(23..25);
    let weekday = WEEKDAYS[usize::try_from(days % 7).unwrap()];
    let separators = [&date[..5], &date[7..8], &date[11..12], &date[16..17]];
    assert_eq!(separators, [&format!("{weekday}, ")[..], " ", " ", " "]);
    assert_eq!(
        [&date[19..20], &date[22..23], &date[25..]],
        [":", ":", " GMT"]
    );
    days * 86_400 + time
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

#[test]
fn the_example_of_rfc_9110_is_read() {
    assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), 784_111_777);
}

#[test]
fn expiration_must_be_named_as_an_extension() {
    over_both(&[], |client| {
        assert!(extensions(client).contains(&"expiration".to_owned()));
    });
}

#[test]
fn upload_expires_must_be_in_the_answer_to_post_in_rfc_7231_format() {
    over_both(&["--upload-lifetime", "2h"], |client| {
        let before = now();
        let headers = [("upload-length", "10")];
        let answer = client.tus("POST", "/uploads", &headers, b"").is(201);
        let expires = seconds(answer.header("upload-expires"));
        let expected = before + 7_200..=now() + 7_201;
        assert!(expected.contains(&expires), "{expires} in {expected:?}");
        let headers = [("upload-length", "10"), OCTETS];
        let answer = client.tus("POST", "/uploads", &headers, b"01234").is(201);
        seconds(answer.header("upload-expires"));
    });
}

#[test]
fn upload_expires_must_be_in_every_answer_to_patch() {
    over_both(&[], |client| {
        let headers = [("upload-length", "10")];
        let answer = client.tus("POST", "/uploads", &headers, b"").is(201);
        let url = answer.header("location");
        let expires = answer.header("upload-expires");
        let says = |answer: &Answer| assert_eq!(answer.header("upload-expires"), expires);
        says(&client.tus_patch(url, 0, b"01234").is(204));
        says(&client.tus_patch(url, 5, b"").is(204));
        // Promised beyond the demand.
        says(&client.tus_head(url));
    });
}

#[test]
fn upload_expires_must_be_in_answers_that_refuse_a_patch_too() {
    over_both(&[], |client| {
        let headers = [("upload-length", "10")];
        let answer = client.tus("POST", "/uploads", &headers, b"").is(201);
        let url = answer.header("location");
        let expires = answer.header("upload-expires");
        let says = |answer: &Answer| assert_eq!(answer.header("upload-expires"), expires);
        client.tus_patch(url, 0, b"01234").is(204);
        // It is going to expire, whether the request was a good one or not.
        says(&client.tus_patch(url, 0, b"01234").is(409));
        says(&client.tus_patch(url, 5, b"012345").is(413));
        let checksum = ("upload-checksum", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        says(&client.tus_patch_with(url, 5, &[checksum], b"56").is(460));
        says(&client.tus("PATCH", url, &[OCTETS], b"56").is(400));
        let offset = ("upload-offset", "5");
        says(&client.tus("PATCH", url, &[offset], b"56").is(415));
    });
}

#[test]
fn an_expired_upload_should_be_404_and_is_swept() {
    // In a bucket what expired goes an hour later: another server may still be at it.
    only_in_a_folder();
    over_both(&["--upload-lifetime", "4s"], |client| {
        let met_by_a_restart = client.tus_new(10);
        // In one request: a second one could come when the first has expired.
        let with_body = |body: &[u8]| {
            let headers = [("upload-length", "10"), OCTETS];
            let answer = client.tus("POST", "/uploads", &headers, body).is(201);
            answer.header("location").to_owned()
        };
        let (part, whole) = (with_body(b"01234"), with_body(b"0123456789"));
        for url in [&part, &whole] {
            wait_until("the upload URL expires", || {
                client.tus("HEAD", url, &[], b"").status == 404
            });
            client.tus_patch(url, 5, b"56789").is(404);
            client.tus("DELETE", url, &[], b"").is(404);
            client.tus("GET", url, &[], b"").is(404);
            wait_until("what expired is swept", || {
                client.unfinished_files(url).is_empty()
            });
        }
        client.restart(rustix::process::Signal::KILL);
        client.tus("HEAD", &met_by_a_restart, &[], b"").is(404);
        wait_until("what expired is swept", || {
            client.unfinished_files(&met_by_a_restart).is_empty()
        });
        // What was handed in is the receiver's.
        assert!(!client.is_listed(&part));
        assert_eq!(client.opened(&whole).content, b"0123456789");
    });
}
