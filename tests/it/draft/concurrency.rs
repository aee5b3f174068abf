//! Concurrency.

use super::{LAST, MORE, VERSION};
use crate::resumable::{PART, over_both};
use crate::server::{content, wait_until};

#[test]
fn offset_retrieved_must_be_accepted_while_a_request_hangs() {
    over_both(&[], |client| {
        let content = content(2 * PART);
        let url = client.draft_new();
        let mut append = client.begin_append(&url, 0, &[MORE]);
        append.send(&content[..PART]);
        client.wait_staged(&url, 0);
        let offset = client.draft_offset(&url);
        assert!(offset > 0 && offset <= PART, "{offset}");
        // Whatever the old request still has on its way, it is not appended any more.
        assert_eq!(client.draft_offset(&url), offset);
        client
            .append(&url, offset, LAST, &content[offset..])
            .is(201);
        if let Some(answer) = append.answer() {
            answer.refused(409, "upload-taken-over");
        }
        assert!(client.opened(&url).content == content);
    });
}

#[test]
fn appends_to_the_same_place_must_not_both_count() {
    over_both(&[], |client| {
        let content = content(2 * PART);
        let url = client.draft_new();
        let mut first = client.begin_append(&url, 0, &[MORE]);
        first.send(&content[..PART]);
        client.wait_staged(&url, 0);
        // The second one ends the first, and where that had got to, its own offset is the wrong one.
        let second = client.append(&url, 0, MORE, b"something else").is(409);
        let offset: usize = second.header("upload-offset").parse().unwrap();
        assert!(offset > 0 && offset <= PART, "{offset}");
        if let Some(answer) = first.answer() {
            answer.refused(409, "upload-taken-over");
        }
        client
            .append(&url, offset, LAST, &content[offset..])
            .is(201);
        assert!(client.opened(&url).content == content);
    });
}

#[test]
fn appends_and_retrievals_in_a_race_must_not_corrupt_or_lose() {
    over_both(&[], |client| {
        let content = content(200_000);
        let url = client.draft_create(&[("upload-length", "200000")], b"");
        let client = &*client;
        let (acknowledged, url, content) = (std::sync::Mutex::new(0), &url[..], &content[..]);
        std::thread::scope(|scope| {
            for size in [1_000, 20_000, 40_000, 65_536] {
                let acknowledged = &acknowledged;
                scope.spawn(move || {
                    wait_until("all is sent", || {
                        let before = *acknowledged.lock().unwrap();
                        // It may be ended by another one, too.
                        let head = client.try_request("HEAD", url, &[VERSION], b"");
                        let Some(head) = head.filter(|head| head.status == 204) else {
                            return false;
                        };
                        let offset: usize = head.header("upload-offset").parse().unwrap();
                        // What was acknowledged before it was asked stays so.
                        assert!(offset >= before, "{offset} < {before}");
                        let end = content.len().min(offset + size);
                        let piece = &content[offset..end];
                        let Some(answer) = client.try_append(url, offset, MORE, piece) else {
                            return false;
                        };
                        if answer.status == 204 {
                            let reached: usize = answer.header("upload-offset").parse().unwrap();
                            assert!(reached <= content.len());
                            let mut acknowledged = acknowledged.lock().unwrap();
                            *acknowledged = reached.max(*acknowledged);
                        } else {
                            answer.is(409);
                        }
                        end == content.len()
                    });
                });
            }
        });
        wait_until("all is appended", || {
            let offset = client.draft_offset(url);
            client.append(url, offset, MORE, &content[offset..]).status == 204
        });
        client.append(url, content.len(), LAST, b"").is(201);
        assert!(client.opened(url).content == content);
    });
}

#[test]
fn retrievals_beside_each_other_all_have_the_offset() {
    over_both(&[], |client| {
        let url = &client.draft_create(&[], b"01234")[..];
        let client = &*client;
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(move || {
                    for _ in 0..8 {
                        assert_eq!(client.draft_offset(url), 5);
                    }
                });
            }
        });
    });
}

#[test]
fn only_one_of_two_last_requests_must_complete_the_upload() {
    over_both(&[], |client| {
        let client = &*client;
        for _ in 0..10 {
            let url = &client.draft_create(&[], b"01234")[..];
            let accepted = std::thread::scope(|scope| {
                let rests = [&b"aaaaa"[..], b"bbbbb"];
                let last =
                    rests.map(|rest| scope.spawn(move || client.try_append(url, 5, LAST, rest)));
                let answers = last.map(|last| last.join().unwrap());
                let accepted = std::iter::zip(rests, answers).filter(|(_, answer)| {
                    answer.as_ref().is_some_and(|answer| answer.status == 201)
                });
                accepted.map(|(rest, _)| rest).collect::<Vec<_>>()
            });
            // None, where the one had just brought its content when the other ended it.
            assert!(accepted.len() <= 1);
            assert_eq!(client.is_listed(url), accepted.len() == 1);
            for rest in accepted {
                assert_eq!(client.opened(url).content, [b"01234", rest].concat());
            }
        }
    });
}
