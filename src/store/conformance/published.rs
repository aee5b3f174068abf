//! What is published, and when it is seen.

use super::*;

pub(super) const CASES: &[(&str, Case)] = &[
    (
        "invisible before, whole after",
        invisible_before_whole_after,
    ),
    (
        "what is created to be published is there then",
        what_is_created_to_be_published_is_there_then,
    ),
    ("upload without segments", upload_without_segments),
    ("reads at every boundary", reads_at_every_boundary),
    ("list is ordered and paged", list_is_ordered_and_paged),
    ("several are published", several_are_published),
    (
        "a repeated id publishes nothing",
        a_repeated_id_publishes_nothing,
    ),
    ("an id is published once", an_id_is_published_once),
    ("a segment is created once", a_segment_is_created_once),
    ("segment numbers are bounded", segment_numbers_are_bounded),
    (
        "discard removes what is staged only",
        discard_removes_what_is_staged_only,
    ),
    (
        "delete removes what is published only",
        delete_removes_what_is_published_only,
    ),
    (
        "only what was published survives",
        only_what_was_published_survives,
    ),
    (
        "threads do not disturb each other",
        threads_do_not_disturb_each_other,
    ),
];

fn invisible_before_whole_after(place: &dyn Place) {
    let store = place.open();
    store.check().unwrap();
    let id = id();
    assert_eq!(list(&*store), []);
    let unfinished = create(&*store, &id, 0).unwrap();
    assert!(
        is_missing(&*store, &id) && list(&*store).is_empty(),
        "while a segment is written"
    );
    unfinished.finish().unwrap();
    stage(&*store, &id, 1, b"second segment");
    assert!(
        is_missing(&*store, &id) && list(&*store).is_empty(),
        "while it is staged"
    );

    publish(&*store, &id, b"the manifest");
    assert_eq!(list(&*store), [id]);
    let files = [
        SealedFile::Meta,
        SealedFile::Segment(0),
        SealedFile::Segment(1),
    ];
    assert_eq!(store.open(&id).unwrap().files().unwrap(), files);
    assert_eq!(read(&*store, &id, SealedFile::Meta), b"the manifest");
    assert_eq!(read(&*store, &id, SealedFile::Segment(0)), b"");
    assert_eq!(
        read(&*store, &id, SealedFile::Segment(1)),
        b"second segment"
    );
    for missing in [2, MAX_SEGMENTS - 1, MAX_SEGMENTS, u32::MAX] {
        let opened = store.open(&id).unwrap().open(SealedFile::Segment(missing));
        assert!(
            matches!(opened, Err(StoreError::NotFound)),
            "segment {missing}"
        );
    }
}

fn what_is_created_to_be_published_is_there_then(place: &dyn Place) {
    let store = place.open();
    let (id, dropped) = (id(), id());
    for id in [&id, &dropped] {
        let name = name_of(&*store, id, 0);
        let mut writer = store.create_segment_to_publish(id, &name).unwrap();
        writer.write(b"sealed").unwrap();
        writer.finish().unwrap();
        assert!(is_missing(&*store, id));
    }
    publish(&*store, &id, b"the manifest");
    discard(&*store, &dropped);
    drop(store);
    let store = place.open();
    assert_eq!(read(&*store, &id, SealedFile::Segment(0)), b"sealed");
    assert_eq!(list(&*store), [id]);
}

fn upload_without_segments(place: &dyn Place) {
    let store = place.open();
    let id = id();
    publish(&*store, &id, b"nothing but a manifest");
    assert_eq!(
        store.open(&id).unwrap().files().unwrap(),
        [SealedFile::Meta]
    );
    assert_eq!(
        read(&*store, &id, SealedFile::Meta),
        b"nothing but a manifest"
    );
    store.publish(&[]).unwrap();
    assert_eq!(list(&*store), [id]);
}

fn reads_at_every_boundary(place: &dyn Place) {
    let store = place.open();
    let id = id();
    let small: Vec<u8> = (1..=7).collect();
    let large: Vec<u8> = (0..200_001_u32).map(|i| (i % 251) as u8).collect();
    stage(&*store, &id, 0, &small);
    stage(&*store, &id, 1, &large);
    publish(&*store, &id, b"m");
    let upload = store.open(&id).unwrap();

    let file = upload.open(SealedFile::Segment(0)).unwrap();
    assert_eq!(file.len(), 7);
    for offset in 0..=9 {
        for wanted in 0..=9 {
            let mut buf = vec![0xff; wanted];
            let expected: Vec<u8> = small.iter().copied().skip(offset).take(wanted).collect();
            assert_eq!(
                file.read_at(&mut buf, offset as u64).unwrap(),
                expected.len(),
                "{wanted} from {offset}"
            );
            assert_eq!(buf[..expected.len()], expected);
            assert!(
                buf[expected.len()..].iter().all(|b| *b == 0xff),
                "{wanted} from {offset}"
            );
        }
    }
    for far in [i64::MAX as u64, 1 << 63, u64::MAX] {
        assert_eq!(file.read_at(&mut [0; 4], far).unwrap(), 0, "from {far}");
    }

    let file = upload.open(SealedFile::Segment(1)).unwrap();
    assert_eq!(file.len(), 200_001);
    let mut buf = vec![0; 65_552];
    let len = buf.len();
    for (piece, expected) in large.chunks(len).enumerate() {
        let read = file.read_at(&mut buf, (piece * len) as u64).unwrap();
        assert_eq!(&buf[..read], expected, "piece {piece}");
    }
}

fn list_is_ordered_and_paged(place: &dyn Place) {
    let store = place.open();
    // Several on each of four days, one of them in another year, staged out of order.
    let days = [0, 1, 2, 300].map(|days| NOON + DAY * days);
    let mut ids: Vec<_> = days
        .iter()
        .flat_map(|day| (0..3).map(|_| id_at(*day)))
        .collect();
    ids.push(id_at(NOON + Duration::from_millis(12 * 60 * 60 * 1000 - 1)));
    ids.push(id_at(NOON + DAY / 2));
    for id in ids.iter().rev() {
        publish(&*store, id, b"m");
    }
    ids.sort();
    assert_eq!(list(&*store), ids);
    assert_eq!(store.list(None, 0).unwrap(), []);
    for limit in 1..=ids.len() + 1 {
        let mut pages = Vec::new();
        while let page = store.list(pages.last(), limit).unwrap()
            && !page.is_empty()
        {
            assert!(
                page.len() == limit || pages.len() + page.len() == ids.len(),
                "a short page before the end"
            );
            pages.extend(page);
        }
        assert_eq!(pages, ids, "pages of {limit}");
    }
    // `after` need not be there, nor need its day.
    assert_eq!(
        store.list(Some(&id_at(Duration::ZERO)), 1).unwrap(),
        ids[..1]
    );
    assert_eq!(
        store.list(Some(&id_at(NOON + DAY * 100)), 1).unwrap(),
        ids[ids.len() - 3..ids.len() - 2]
    );
    assert_eq!(store.list(Some(&id_at(NOON + DAY * 400)), 9).unwrap(), []);
}

fn several_are_published(place: &dyn Place) {
    let store = place.open();
    let uploads: Vec<_> = (0..5)
        .map(|i| (id_at(NOON + DAY * (i / 2)), vec![b'0'; i as usize + 1]))
        .collect();
    for (id, meta) in &uploads {
        stage(&*store, id, 0, meta);
    }
    let all: Vec<_> = (uploads.iter())
        .map(|(id, meta)| publication(id, meta))
        .collect();
    store.publish(&all).unwrap();
    assert_eq!(
        list(&*store).into_iter().collect::<BTreeSet<_>>(),
        uploads.iter().map(|(id, _)| *id).collect()
    );
    for (id, meta) in &uploads {
        assert_eq!(&read(&*store, id, SealedFile::Meta), meta);
        assert_eq!(&read(&*store, id, SealedFile::Segment(0)), meta);
    }
}

fn a_repeated_id_publishes_nothing(place: &dyn Place) {
    let store = place.open();
    let (one, two) = (id(), id());
    let published = store.publish(&[
        publication(&one, b"1"),
        publication(&two, b"2"),
        publication(&one, b"3"),
    ]);
    assert!(
        matches!(published, Err(StoreError::Exists)),
        "{published:?}"
    );
    assert_eq!(list(&*store), []);
    discard(&*store, &one);
    discard(&*store, &two);
}

fn an_id_is_published_once(place: &dyn Place) {
    let store = place.open();
    let id = id();
    stage(&*store, &id, 0, b"first");
    publish(&*store, &id, b"first");

    // Some stores notice at the segment, all of them at the latest when publishing.
    let again = create(&*store, &id, 0).and_then(|mut writer| {
        writer.write(b"second")?;
        writer.finish()
    });
    let again = again.and_then(|()| store.publish(&[publication(&id, b"second")]));
    assert!(matches!(again, Err(StoreError::Exists)), "{again:?}");
    discard(&*store, &id);
    assert_eq!(list(&*store), [id]);
    assert_eq!(read(&*store, &id, SealedFile::Meta), b"first");
    assert_eq!(read(&*store, &id, SealedFile::Segment(0)), b"first");
}

fn a_segment_is_created_once(place: &dyn Place) {
    let store = place.open();
    let id = id();
    let mut writer = create(&*store, &id, 0).unwrap();
    writer.write(b"first, ").unwrap();
    assert!(
        matches!(create(&*store, &id, 0), Err(StoreError::Exists)),
        "while it is written"
    );
    writer.write(b"unharmed").unwrap();
    writer.finish().unwrap();
    assert!(
        matches!(create(&*store, &id, 0), Err(StoreError::Exists)),
        "when it is finished"
    );
    publish(&*store, &id, b"m");
    assert_eq!(
        read(&*store, &id, SealedFile::Segment(0)),
        b"first, unharmed"
    );
}

fn segment_numbers_are_bounded(place: &dyn Place) {
    let store = place.open();
    let id = id();
    for segment in [MAX_SEGMENTS, u32::MAX] {
        assert!(
            matches!(
                store.name_segment(segment),
                Err(StoreError::TooManySegments)
            ),
            "{segment}"
        );
    }
    stage(&*store, &id, MAX_SEGMENTS - 1, b"last");
    publish(&*store, &id, b"m");
    assert_eq!(
        read(&*store, &id, SealedFile::Segment(MAX_SEGMENTS - 1)),
        b"last"
    );
}

fn discard_removes_what_is_staged_only(place: &dyn Place) {
    let store = place.open();
    let (staged, published) = (id(), id());
    publish(&*store, &published, b"m");
    discard(&*store, &staged);
    stage(&*store, &staged, 0, b"finished");
    let mut unfinished = create(&*store, &staged, 1).unwrap();
    unfinished.write(b"unfinished").unwrap();
    drop(unfinished);
    discard(&*store, &staged);
    discard(&*store, &staged);
    discard(&*store, &published);
    assert_eq!(list(&*store), [published]);

    // Nothing is left of what was discarded.
    stage(&*store, &staged, 1, b"anew");
    publish(&*store, &staged, b"m");
    assert_eq!(
        store.open(&staged).unwrap().files().unwrap(),
        [SealedFile::Meta, SealedFile::Segment(1)]
    );
    assert_eq!(read(&*store, &staged, SealedFile::Segment(1)), b"anew");
}

fn delete_removes_what_is_published_only(place: &dyn Place) {
    let store = place.open();
    let (deleted, kept, staged) = (id(), id(), id());
    for id in [deleted, kept, staged] {
        stage(&*store, &id, 0, b"payload");
    }
    publish(&*store, &deleted, b"m");
    publish(&*store, &kept, b"m");
    store.delete(&deleted).unwrap();
    assert!(is_missing(&*store, &deleted));
    for missing in [deleted, staged, id_at(NOON + DAY * 7)] {
        assert!(
            matches!(store.delete(&missing), Err(StoreError::NotFound)),
            "{missing}"
        );
    }
    assert_eq!(list(&*store), [kept]);
    publish(&*store, &staged, b"m");
    assert_eq!(read(&*store, &staged, SealedFile::Segment(0)), b"payload");

    drop(store);
    let store = place.reopen();
    assert!(is_missing(&*store, &deleted));
    assert_eq!(read(&*store, &kept, SealedFile::Segment(0)), b"payload");
}

fn only_what_was_published_survives(place: &dyn Place) {
    let (published, unfinished) = (id(), id());
    let store = place.open();
    stage(&*store, &published, 0, b"payload");
    publish(&*store, &published, b"m");
    stage(&*store, &unfinished, 0, b"finished");
    let mut writer = create(&*store, &unfinished, 1).unwrap();
    writer.write(b"unfinished").unwrap();
    drop(writer);
    drop(store);

    let store = place.reopen();
    assert_eq!(list(&*store), [published]);
    assert_eq!(read(&*store, &published, SealedFile::Meta), b"m");
    assert_eq!(
        read(&*store, &published, SealedFile::Segment(0)),
        b"payload"
    );
    assert!(is_missing(&*store, &unfinished));
    publish(&*store, &id_at(NOON), b"goes on working");
}

fn threads_do_not_disturb_each_other(place: &dyn Place) {
    const THREADS: usize = 4;
    const EACH: usize = 5;
    let store = place.open();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &*store;
            scope.spawn(move || {
                for round in 0..EACH {
                    // Ids of two days, so that day folders are made at the same time.
                    let id =
                        UploadId::generate(UNIX_EPOCH + NOON + DAY * u32::from(round % 2 == 0));
                    let bytes = [u8::try_from(thread).unwrap(); 100];
                    stage(store, &id, 0, &bytes);
                    publish(store, &id, &bytes);
                    assert_eq!(read(store, &id, SealedFile::Segment(0)), bytes);
                    if round == 0 {
                        store.delete(&id).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(list(&*store).len(), THREADS * (EACH - 1));
}
