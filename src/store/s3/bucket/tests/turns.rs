//! Writers of one object, who take turns where the engine has no conditions.

use super::*;

/// Several write the same record; without conditions they take turns.
pub(super) fn only_one_creates(bucket: &Bucket) {
    let created = thread::scope(|scope| {
        let creators: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn(move || bucket.create("records/r", format!("{n}").into(), &none()))
            })
            .collect();
        creators
            .into_iter()
            .map(|creator| creator.join().unwrap())
            .collect::<Vec<_>>()
    });
    let winners: Vec<_> = (0..4).filter(|n| created[*n].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{created:?}");
    for lost in created.iter().filter(|created| created.is_err()) {
        assert!(matches!(lost, Err(StoreError::Exists)), "{lost:?}");
    }
    assert_eq!(
        bucket.get("records/r", 9).unwrap().bytes,
        winners[0].to_string()
    );
}

/// Several count up one number; no count is lost.
pub(super) fn no_count_is_lost(bucket: &Bucket) {
    bucket
        .create("records/n", "0 first".into(), &none())
        .unwrap();
    thread::scope(|scope| {
        for who in 0..3 {
            scope.spawn(move || {
                for turn in 0..3 {
                    loop {
                        let old = bucket.get("records/n", 99).unwrap();
                        let text = std::str::from_utf8(&old.bytes).unwrap();
                        let number: u32 = text.split(' ').next().unwrap().parse().unwrap();
                        let new = format!("{} {who} {turn}", number + 1);
                        match bucket.replace("records/n", &old.etag, new.into(), &none()) {
                            Ok(()) => break,
                            Err(StoreError::Replaced) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                }
            });
        }
    });
    assert!(
        bucket
            .get("records/n", 99)
            .unwrap()
            .bytes
            .starts_with(b"9 ")
    );
}

#[test]
fn writers_do_not_overwrite_each_other() {
    for ignores_conditions in [false, true] {
        let (liar, bucket) = connect(Lies {
            ignores_conditions,
            delay: Duration::from_millis(1),
            ..Lies::default()
        });
        only_one_creates(&bucket);
        no_count_is_lost(&bucket);
        let keys = liar
            .state()
            .keys()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        assert_eq!(
            keys,
            ["at/p/records/n", "at/p/records/r"],
            "no ticket stays"
        );
    }
}

#[test]
fn the_ticket_of_a_dead_server_holds_nobody_up_for_long() {
    let (liar, bucket) = connect(Lies {
        ignores_conditions: true,
        ..Lies::default()
    });
    let ticket = "locks/records/r/1-dead";
    bucket.put(ticket, Bytes::new(), &none()).unwrap();
    liar.state()
        .age("at/p/locks/records/r/1-dead", Duration::from_secs(62));
    bucket.create("records/r", "x".into(), &none()).unwrap();
    assert!(matches!(bucket.head(ticket), Err(StoreError::NotFound)));
    // One that may still live holds until it is given back.
    bucket.put(ticket, Bytes::new(), &none()).unwrap();
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(300));
            bucket.delete(ticket).unwrap();
        });
        let created = bucket.create("records/r", "y".into(), &none());
        assert!(matches!(created, Err(StoreError::Exists)), "{created:?}");
    });
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

/// Tickets that lie there.
fn tickets(liar: &Liar) -> Vec<String> {
    let state = liar.state();
    let keys = state
        .keys()
        .into_iter()
        .filter(|key| key.contains("/locks/"));
    keys.map(str::to_owned).collect()
}

#[test]
fn a_write_that_came_to_no_answer_keeps_its_turn() {
    let (liar, known) = connect(Lies {
        ignores_conditions: true,
        ..Lies::default()
    });
    let bucket = again_within(&liar, &known, IMPATIENT);
    liar.state().lies.swallows = Some("records/r");
    let created = bucket.create("records/r", "late".into(), &none());
    assert!(
        matches!(created, Err(StoreError::Unavailable { .. })),
        "{created:?}"
    );
    let left = tickets(&liar);
    assert_eq!(left.len(), 1, "{left:?}");
    // A minute later nobody reckons with it any more.
    liar.state().lies.swallows = None;
    liar.state().age(&left[0], Duration::from_secs(62));
    known.create("records/r", "new".into(), &none()).unwrap();
    assert_eq!(known.get("records/r", 9).unwrap().bytes, "new");
    assert_eq!(tickets(&liar), [""; 0]);
}

#[test]
fn a_write_that_was_refused_gives_its_turn_back() {
    let (liar, bucket) = connect(Lies {
        ignores_conditions: true,
        ..Lies::default()
    });
    liar.state().lies.refuses_writes = Some(("records/r", (403, "AccessDenied")));
    let (created, is_certain) = bucket.create_surely("records/r", "x".into(), &none());
    assert!(
        matches!(created, Err(StoreError::Refused { .. })),
        "{created:?}"
    );
    assert!(is_certain);
    assert_eq!(tickets(&liar), [""; 0]);
}

#[test]
fn a_write_that_was_refused_after_a_lost_answer_keeps_its_turn() {
    let (liar, bucket) = connect(Lies {
        ignores_conditions: true,
        ..Lies::default()
    });
    liar.state().lies.loses_then_refuses = Some(("records/r", (403, "AccessDenied")));
    let (created, is_certain) = bucket.create_surely("records/r", "x".into(), &none());
    assert!(
        matches!(created, Err(StoreError::Refused { .. })),
        "{created:?}"
    );
    assert!(!is_certain);
    assert_eq!(tickets(&liar).len(), 1);
}
