//! What sealing costs, beside the bare cipher that it is made of and beside SHA-256: `cargo bench --bench seal`.
//!
//! All of it runs over a buffer of the size that one upload has, again and again, so that the numbers are those of the
//! work and not of memory.

use std::hint::black_box;
use std::time::Duration;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use sealslot::keys;
use sealslot::seal::{
    self, Begun, CHUNK_SIZE, ChunkBuffer, Header, Identity, Recipient, SEALED_CHUNK_SIZE,
    StreamOpener, TAG_SIZE, ssh_rsa,
};
use sha2::{Digest, Sha256};

/// Bytes of plaintext.
const SIZE: usize = 64 << 20;
/// Chunks in a buffer, as many as one upload holds.
const CHUNKS: usize = 4;
const BUFFERS: usize = SIZE / CHUNK_SIZE / CHUNKS;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let identity = x25519();
    let mut group = criterion.benchmark_group("payload");
    group.throughput(Throughput::Bytes(SIZE as u64));
    bench_sealing(&mut group, &identity.to_recipient().expect("a key at hand"));
    bench_opening(&mut group, &identity);
    bench_sha256(&mut group);
    group.finish();
    bench_header(&mut criterion, &identity);
    criterion.final_summary();
}

/// The identity of age's public test vectors.
fn x25519() -> Identity {
    let key = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
    Identity::X25519(key.parse().expect("a test identity"))
}

fn cipher() -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&[7; 32].into())
}

fn bench_sealing(group: &mut BenchmarkGroup<'_, WallTime>, recipient: &Recipient) {
    let recipients = [recipient.clone()];
    group.bench_function("seal, cipher alone", |bencher| {
        let (cipher, mut buffer) = (cipher(), vec![0; CHUNKS * CHUNK_SIZE]);
        bencher.iter(|| {
            for _ in 0..BUFFERS {
                for chunk in buffer.chunks_exact_mut(CHUNK_SIZE) {
                    let tag = cipher.encrypt_inout_detached(&Nonce::default(), &[], chunk.into());
                    black_box(tag.expect("64 KiB"));
                }
            }
        });
    });
    // Plaintext that was read into its place, then plaintext that had to be copied there.
    group.bench_function("seal", |bencher| {
        let mut buffer = ChunkBuffer::new(CHUNKS);
        bencher.iter(|| {
            seal(&recipients, &mut buffer, |buffer| {
                while !buffer.is_full() {
                    let size = buffer.spare(CHUNKS * CHUNK_SIZE).len();
                    buffer.advance(size);
                }
            });
        });
    });
    group.bench_function("seal, copied in", |bencher| {
        let (mut buffer, plaintext) = (ChunkBuffer::new(CHUNKS), vec![1; CHUNKS * CHUNK_SIZE]);
        bencher.iter(|| {
            seal(&recipients, &mut buffer, |buffer| {
                buffer.fill(&mut plaintext.as_slice());
            });
        });
    });
}

fn seal(recipients: &[Recipient], buffer: &mut ChunkBuffer, fill: impl Fn(&mut ChunkBuffer)) {
    let Begun { mut sealer, .. } = seal::begin(recipients, &[]).expect("begun");
    for _ in 1..BUFFERS {
        fill(buffer);
        black_box(buffer.seal(&mut sealer).expect("sealed"));
    }
    fill(buffer);
    black_box(buffer.seal_last(sealer).expect("sealed"));
}

fn bench_opening(group: &mut BenchmarkGroup<'_, WallTime>, identity: &Identity) {
    group.bench_function("open, cipher alone", |bencher| {
        let cipher = cipher();
        let mut sealed = vec![0; SIZE / CHUNK_SIZE * SEALED_CHUNK_SIZE];
        for chunk in sealed.as_chunks_mut::<SEALED_CHUNK_SIZE>().0 {
            let (text, place) = chunk.split_at_mut(CHUNK_SIZE);
            let tag = cipher.encrypt_inout_detached(&Nonce::default(), &[], text.into());
            place.copy_from_slice(&tag.expect("64 KiB"));
        }
        bencher.iter_batched_ref(
            || sealed.clone(),
            |sealed| {
                for chunk in sealed.as_chunks_mut::<SEALED_CHUNK_SIZE>().0 {
                    let (text, tag) = chunk.split_last_chunk_mut::<TAG_SIZE>().expect("a tag");
                    cipher
                        .decrypt_inout_detached(&Nonce::default(), &[], text.into(), &(*tag).into())
                        .expect("genuine");
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("open", |bencher| {
        let file = seal::seal(
            &[identity.to_recipient().expect("a key at hand")],
            &[],
            &vec![0; SIZE],
        )
        .expect("sealed");
        let (header, start) = Header::parse(&file).expect("ours").expect("whole");
        let file_key = header
            .unwrap_file_key(std::slice::from_ref(identity))
            .expect("ours");
        bencher.iter_batched_ref(
            || file[start..].to_vec(),
            |payload| {
                let mut opener = StreamOpener::new(&file_key, header.nonce());
                let last = payload.len().div_ceil(SEALED_CHUNK_SIZE) - 1;
                for (number, chunk) in payload.chunks_mut(SEALED_CHUNK_SIZE).enumerate() {
                    black_box(opener.open_next(chunk, number == last).expect("genuine"));
                }
                opener.finish().expect("whole");
            },
            BatchSize::PerIteration,
        );
    });
}

fn bench_sha256(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.bench_function("SHA-256", |bencher| {
        let buffer = vec![0; CHUNKS * CHUNK_SIZE];
        bencher.iter(|| {
            let mut digest = Sha256::new();
            for _ in 0..BUFFERS {
                digest.update(&buffer);
            }
            digest.finalize()
        });
    });
}

/// A file of 16 bytes: nearly all of it is the wrapping of the file key, which every upload pays twice.
fn bench_header(criterion: &mut Criterion, x25519: &Identity) {
    let key = keys::generate(3072).expect("an RSA key");
    let rsa = Identity::SshRsa(ssh_rsa::Identity::new(&key).expect("an RSA key"));
    let mut group = criterion.benchmark_group("16 bytes");
    for (name, identity) in [("RSA-3072", &rsa), ("X25519", x25519)] {
        let recipients = [identity.to_recipient().expect("a key at hand")];
        let identities = std::slice::from_ref(identity);
        group.bench_function(format!("seal, {name}"), |bencher| {
            bencher.iter(|| seal::seal(&recipients, &[], &[0; 16]).expect("sealed"));
        });
        let file = seal::seal(&recipients, &[], &[0; 16]).expect("sealed");
        group.bench_function(format!("open, {name}"), |bencher| {
            bencher.iter(|| seal::open(&file, identities).expect("opened"));
        });
    }
    group.finish();
}
