#![expect(
    clippy::cast_possible_truncation,
    reason = "test data of a few MiB at the most"
)]

use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;

const IDENTITY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";

fn identity() -> Identity {
    Identity::X25519(IDENTITY.parse().unwrap())
}

fn rsa_identity() -> &'static Identity {
    static KEY: OnceLock<Identity> = OnceLock::new();
    KEY.get_or_init(|| {
        let key = rsa::PrivateKey::new(&mut getrandom::SysRng, 2048).unwrap();
        Identity::SshRsa(ssh_rsa::Identity::new(&key).unwrap())
    })
}

fn sealed(plaintext: &[u8]) -> Vec<u8> {
    seal(&[identity().to_recipient().unwrap()], &[], plaintext).unwrap()
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| u8::try_from((i * 7 + i / 251) % 256).unwrap())
        .collect()
}

#[test]
fn every_size_around_a_chunk_comes_back() {
    for size in [0, 1, 15, 16, 65535, 65536, 65537, 131_072, 131_073, 1 << 20] {
        let plaintext = pattern(size);
        let file = sealed(&plaintext);
        assert_eq!(*open(&file, &[identity()]).unwrap(), plaintext, "{size}");
        let (_, prefix) = Header::parse(&file).unwrap().unwrap();
        let layout = PayloadLayout::of_sealed((file.len() - prefix) as u64).unwrap();
        assert_eq!(layout.plaintext_size(), size as u64);
    }
}

#[test]
fn each_of_several_recipients_opens() {
    let recipients = [
        identity().to_recipient().unwrap(),
        rsa_identity().to_recipient().unwrap(),
    ];
    let file = seal(&recipients, &[], b"for both").unwrap();
    for own in [&identity(), rsa_identity()] {
        let (header, size) = Header::parse(&file).unwrap().unwrap();
        let key = header.unwrap_file_key(std::slice::from_ref(own)).unwrap();
        assert_eq!(
            *open_payload(&file[size..], &header, &key).unwrap(),
            b"for both"
        );
    }
}

#[test]
fn nothing_is_sealed_to_nobody() {
    assert!(matches!(seal(&[], &[], b""), Err(SealError::NoRecipients)));
}

#[test]
fn nothing_is_sealed_behind_a_header_that_is_too_long_to_be_read() {
    let of = |size| Stanza {
        args: vec!["example.com/extra".into()],
        body: vec![0; size],
    };
    let to = [identity().to_recipient().unwrap()];
    let fits = seal(&to, &[of(3_000_000)], b"");
    assert!(Header::parse(&fits.unwrap()).is_ok());
    for size in [3 << 20, 4 << 20] {
        let sealed = seal(&to, &[of(size)], b"");
        assert!(matches!(sealed, Err(SealError::HeaderTooLong)), "{size}");
    }
}

#[test]
fn an_extra_stanza_is_kept_and_covered_by_the_mac() {
    let extra = Stanza {
        args: vec!["example.com/extra".into(), "argument".into()],
        body: pattern(48 * 3),
    };
    let file = seal(
        &[identity().to_recipient().unwrap()],
        std::slice::from_ref(&extra),
        b"x",
    )
    .unwrap();
    let (header, _) = Header::parse(&file).unwrap().unwrap();
    assert_eq!(header.stanzas()[1], extra);
    let at = memchr::memmem::find(&file, b"argument").unwrap();
    let mut altered = file.clone();
    altered[at] = b'A';
    assert!(matches!(open(&altered, &[identity()]), Err(OpenError::Mac)));
}

#[test]
fn a_stanza_argument_outside_visible_ascii_is_refused() {
    for argument in ["", "a b", "a\nb", "é"] {
        let extra = Stanza {
            args: vec![argument.into()],
            body: vec![],
        };
        let result = seal(&[identity().to_recipient().unwrap()], &[extra], b"");
        assert!(matches!(result, Err(SealError::StanzaArgument)));
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let file = sealed(b"a small secret");
    for byte in 0..file.len() {
        for bit in 0..8 {
            let mut altered = file.clone();
            altered[byte] ^= 1 << bit;
            assert!(
                open(&altered, &[identity()]).is_err(),
                "byte {byte} bit {bit}"
            );
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    let file = sealed(b"a small secret");
    for size in 0..file.len() {
        assert!(open(&file[..size], &[identity()]).is_err(), "{size}");
    }
    let long = sealed(&pattern(2 * CHUNK_SIZE + 5));
    let (_, prefix) = Header::parse(&long).unwrap().unwrap();
    for chunks in 0..=2 {
        let cut = prefix + chunks * SEALED_CHUNK_SIZE;
        for size in [cut, cut + 1, cut + TAG_SIZE] {
            assert!(open(&long[..size], &[identity()]).is_err(), "{size}");
        }
    }
}

#[test]
fn swapped_chunks_are_noticed() {
    let file = sealed(&pattern(3 * CHUNK_SIZE));
    let (_, prefix) = Header::parse(&file).unwrap().unwrap();
    let mut swapped = file.clone();
    let (first, second) = swapped[prefix..].split_at_mut(SEALED_CHUNK_SIZE);
    first.swap_with_slice(&mut second[..SEALED_CHUNK_SIZE]);
    assert!(matches!(
        open(&swapped, &[identity()]),
        Err(OpenError::Payload(PayloadError::Chunk(0)))
    ));
}

#[test]
fn another_key_is_no_match() {
    let other = rsa_identity().to_recipient().unwrap();
    let file = seal(&[other], &[], b"not for you").unwrap();
    assert!(matches!(
        open(&file, &[identity()]),
        Err(OpenError::NoMatch)
    ));
}

#[test]
fn any_chunk_opens_by_itself() {
    let plaintext = pattern(3 * CHUNK_SIZE + 100);
    let file = sealed(&plaintext);
    let (header, prefix) = Header::parse(&file).unwrap().unwrap();
    let key = header.unwrap_file_key(&[identity()]).unwrap();
    let opener = PayloadOpener::new(&key, header.nonce());
    let layout = PayloadLayout::of_sealed((file.len() - prefix) as u64).unwrap();
    let bytes = |place: u64| usize::try_from(place).unwrap();
    for number in (0..layout.chunks()).rev() {
        let range = layout.sealed_range(number);
        let mut chunk = file[prefix..][bytes(range.start)..bytes(range.end)].to_vec();
        let last = number + 1 == layout.chunks();
        let text = opener.open(number, last, &mut chunk).unwrap();
        let start = number as usize * CHUNK_SIZE;
        assert_eq!(text, &plaintext[start..start + text.len()]);
    }
}

#[test]
fn a_stranger_key_does_not_verify_the_header() {
    let file = sealed(b"x");
    let (header, _) = Header::parse(&file).unwrap().unwrap();
    assert!(matches!(
        header.verify(&FileKey::generate().unwrap()),
        Err(OpenError::Mac)
    ));
}

#[test]
fn the_longest_length_that_can_be_claimed_has_a_layout() {
    let layout = PayloadLayout::of_sealed(u64::MAX - 1).unwrap();
    assert_eq!(layout.sealed_range(layout.chunks() - 1).end, u64::MAX - 1);
}

#[test]
fn no_payload_has_an_impossible_length() {
    for sealed in [0, 1, 15, 65552 + 1, 65552 + 15, 65552 + 16] {
        assert!(PayloadLayout::of_sealed(sealed).is_err(), "{sealed}");
    }
    assert_eq!(PayloadLayout::of_sealed(16).unwrap().plaintext_size(), 0);
    assert_eq!(
        PayloadLayout::of_sealed(65552 + 17)
            .unwrap()
            .plaintext_size(),
        65537
    );
}

#[test]
fn a_buffer_starts_small() {
    let mut buffer = ChunkBuffer::new(4);
    buffer.fill(&mut &b"short"[..]);
    assert!(buffer.spare(1).len() < 16 * 1024);
}

#[test]
fn what_is_moved_on_is_erased_where_it_was() {
    let (mut buffer, mut next) = (ChunkBuffer::new(4), ChunkBuffer::new(4));
    buffer.fill(&mut &pattern(2 * 65536 + 100)[..]);
    buffer.move_rest(&mut next);
    assert_eq!((buffer.len(), next.len()), (2 * 65536, 100));
    assert!(buffer.spare(100)[..100].iter().all(|byte| *byte == 0));
    assert!(next.plaintext().next().unwrap() == &pattern(2 * 65536 + 100)[2 * 65536..]);
}

#[test]
fn a_slow_payload_needs_room_for_one_chunk() {
    let mut buffer = ChunkBuffer::new(8);
    for _ in 0..65536 / 16 {
        buffer.fill(&mut &[0; 16][..]);
    }
    assert!(buffer.room() <= SEALED_CHUNK_SIZE);
}

/// The buffer grows to just what a piece needs, and the tag of its last chunk needs room too.
#[test]
fn a_payload_may_end_anywhere_in_what_a_buffer_grew_to() {
    for first in [0, 1, 8 * 1024 - 16, 65535, 65536] {
        for size in [65519, 65536, 65537, 119_979, 131_072, 131_073, 196_608] {
            let plaintext = pattern(first + size);
            let Begun {
                mut prefix,
                sealer,
                file_key,
            } = begin(&[identity().to_recipient().unwrap()], &[]).unwrap();
            let mut buffer = ChunkBuffer::new(5);
            let (mut head, mut tail) = plaintext.split_at(first);
            buffer.fill(&mut head);
            buffer.fill(&mut tail);
            prefix.extend_from_slice(buffer.seal_last(sealer).unwrap());
            let (header, start) = Header::parse(&prefix).unwrap().unwrap();
            let opened = open_payload(&prefix[start..], &header, &file_key).unwrap();
            assert!(*opened == plaintext, "{first} + {size}");
        }
    }
}

#[test]
fn the_identity_is_read_in_either_case_alone() {
    assert!(IDENTITY.to_lowercase().parse::<x25519::Identity>().is_ok());
    let mixed = IDENTITY.replace("EGTZ", "egtz");
    assert!(mixed.parse::<x25519::Identity>().is_err());
    let recipient = IDENTITY.parse::<x25519::Identity>().unwrap().to_recipient();
    assert!(recipient.to_string().parse::<x25519::Identity>().is_err());
    assert!(
        recipient
            .to_string()
            .parse::<x25519::Recipient>()
            .is_ok_and(|r| r == recipient)
    );
}

fn armored(bytes: &[u8], step: usize) -> Vec<u8> {
    let mut encoder = ArmorEncoder::new();
    let mut text = Vec::new();
    for piece in bytes.chunks(step) {
        encoder.push(piece, &mut text);
    }
    encoder.finish(&mut text);
    text
}

fn dearmored(text: &[u8], step: usize) -> Result<Vec<u8>, ArmorError> {
    let mut decoder = ArmorDecoder::new();
    let mut bytes = Vec::new();
    for piece in text.chunks(step) {
        decoder.push(piece, &mut bytes)?;
    }
    decoder.finish(&mut bytes)?;
    Ok(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn armor_comes_off_as_it_went_on(bytes: Vec<u8>, on in 1usize..200, off in 1usize..200) {
        let text = armored(&bytes, on);
        prop_assert!(looks_armored(&text));
        prop_assert_eq!(dearmored(&text, off).unwrap(), bytes);
    }

    #[test]
    fn cut_armor_is_noticed(bytes: Vec<u8>, cut in 2usize..30) {
        let text = armored(&bytes, 48);
        prop_assert!(dearmored(&text[..text.len() - cut], 7).is_err());
    }

    #[test]
    fn anything_may_be_parsed(mut bytes: Vec<u8>, step in 1usize..50) {
        let _ = dearmored(&bytes, step);
        let _ = Header::parse(&bytes);
        let mut file = b"age-encryption.org/v1\n-> ".to_vec();
        file.append(&mut bytes);
        let _ = Header::parse(&file);
    }

    #[test]
    fn a_header_is_incomplete_until_it_is_there(cut in 0usize..1) {
        let file = sealed(b"");
        let (_, size) = Header::parse(&file).unwrap().unwrap();
        for end in cut..size {
            prop_assert!(Header::parse(&file[..end]).unwrap().is_none());
        }
    }

    #[test]
    fn a_buffer_seals_alike_however_it_was_filled(
        pieces in prop::collection::vec((1usize..200_000, any::<bool>()), 1..6),
        chunks in 1usize..5,
    ) {
        let plaintext = pattern(pieces.iter().map(|(size, _)| size).sum());
        let Begun { mut prefix, mut sealer, file_key } =
            begin(&[identity().to_recipient().unwrap()], &[]).unwrap();
        let mut buffer = ChunkBuffer::new(chunks);
        let mut held = Vec::new();
        let mut rest = plaintext.as_slice();
        for (size, early) in pieces {
            let (mut now, later) = rest.split_at(size);
            rest = later;
            if early && buffer.has_whole_chunk() {
                held.extend(buffer.whole_chunks().flatten().copied());
                let mut next = ChunkBuffer::new(chunks);
                buffer.move_rest(&mut next);
                prefix.extend_from_slice(buffer.seal(&mut sealer).unwrap());
                buffer = next;
            }
            while !now.is_empty() {
                if buffer.is_full() {
                    held.extend(buffer.plaintext().flatten().copied());
                    prefix.extend_from_slice(buffer.seal(&mut sealer).unwrap());
                }
                buffer.fill(&mut now);
            }
        }
        held.extend(buffer.plaintext().flatten().copied());
        prefix.extend_from_slice(buffer.seal_last(sealer).unwrap());
        let (header, start) = Header::parse(&prefix).unwrap().unwrap();
        prop_assert_eq!(&*open_payload(&prefix[start..], &header, &file_key).unwrap(), &plaintext);
        prop_assert_eq!(held, plaintext);
    }
}

fn hybrid_identity() -> Identity {
    Identity::MlKem768X25519(mlkem768x25519::Identity::generate().unwrap())
}

#[test]
fn a_post_quantum_recipient_opens_and_nobody_else() {
    let (own, other) = (hybrid_identity(), hybrid_identity());
    let to = |identities: &[&Identity]| -> Vec<_> {
        identities
            .iter()
            .filter_map(|identity| identity.to_recipient())
            .collect()
    };
    let file = seal(&to(&[&other, &own]), &[], b"for years").unwrap();
    assert_eq!(*open(&file, &[identity(), own]).unwrap(), b"for years");
    assert_eq!(*open(&file, &[other]).unwrap(), b"for years");
    for stranger in [hybrid_identity(), identity()] {
        assert!(matches!(open(&file, &[stranger]), Err(OpenError::NoMatch)));
    }
}

#[test]
fn post_quantum_and_other_recipients_seal_nothing_together() {
    let hybrid = hybrid_identity().to_recipient().unwrap();
    for other in [&identity(), rsa_identity()] {
        let other = other.to_recipient().unwrap();
        for recipients in [[hybrid.clone(), other.clone()], [other, hybrid.clone()]] {
            let answer = seal(&recipients, &[], b"");
            assert!(matches!(answer, Err(SealError::PostQuantumMixed)));
        }
    }
}

#[test]
fn a_post_quantum_key_with_a_low_order_point_or_numbers_out_of_range_is_none() {
    let hybrid = mlkem768x25519::Identity::generate().unwrap().to_recipient();
    let text = |bytes: &[u8]| {
        struct Written<'a>(&'a [u8]);
        impl std::fmt::Display for Written<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                key_text::write_lower(f, "age1pq", self.0)
            }
        }
        Written(bytes).to_string()
    };
    let bytes = hybrid.to_bytes();
    assert_eq!(text(&bytes), hybrid.to_string());
    let changed = |range: std::ops::Range<usize>, to: u8| {
        let mut bytes = bytes.clone();
        bytes[range].fill(to);
        text(&bytes).parse::<mlkem768x25519::Recipient>().err()
    };
    // The point 0, and coefficients of 4095 where 3328 is the most.
    assert_eq!(changed(1184..1216, 0), Some(EncodingError::Numbers));
    assert_eq!(changed(0..3, 0xff), Some(EncodingError::Numbers));
    let short = text(&bytes[..1215]).parse::<mlkem768x25519::Recipient>();
    assert_eq!(short.err(), Some(EncodingError::Kind));
}

#[test]
fn identities_at_hand_come_before_others_which_keep_nothing_from_them() {
    struct Broken;
    impl Unwrap for Broken {
        fn unwrap(&self, _: &[Stanza]) -> Result<Option<FileKey>, OpenError> {
            Err(OpenError::External("gone".into()))
        }
    }
    struct Untouched;
    impl Unwrap for Untouched {
        fn unwrap(&self, _: &[Stanza]) -> Result<Option<FileKey>, OpenError> {
            panic!("asked for what is at hand")
        }
    }
    let external = |identity: Box<dyn Unwrap>| Identity::External(identity);
    let file = sealed(b"x");
    let opened = open(&file, &[external(Box::new(Untouched)), identity()]);
    assert_eq!(*opened.unwrap(), b"x");
    let file = seal_with_passphrase("correct horse", b"y").unwrap();
    let passphrase = || {
        external(Box::new(scrypt::Identity::new(
            "correct horse".to_owned().into(),
        )))
    };
    let opened = open(
        &file,
        &[external(Box::new(Broken)), identity(), passphrase()],
    );
    assert_eq!(*opened.unwrap(), b"y");
    let none = open(&file, &[external(Box::new(Broken)), identity()]);
    assert!(
        matches!(none, Err(OpenError::External(_))),
        "the reason is told"
    );
}

#[test]
fn a_stanza_is_read_as_it_is_written() {
    for size in [0, 1, 47, 48, 49, 1000] {
        let stanza = Stanza {
            args: vec!["msg".to_owned(), "0".to_owned()],
            body: pattern(size),
        };
        let mut bytes = stanza.encode().unwrap();
        let whole = bytes.len();
        for end in 0..whole {
            assert_eq!(Stanza::parse(&bytes[..end]), Ok(None), "{size}, {end}");
        }
        bytes.extend_from_slice(b"-> next\n");
        assert_eq!(Stanza::parse(&bytes), Ok(Some((stanza, whole))));
    }
    assert_eq!(Stanza::parse(b"ok\n"), Err(HeaderError::Line));
}
