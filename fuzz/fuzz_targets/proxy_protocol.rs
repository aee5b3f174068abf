//! The header in front of a proxied connection: read within its bounds, and the same whatever follows it.
#![no_main]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use sealslot::server::proxy_protocol::{Source, read_header};

/// What is read, and how many bytes that took. All of them are there, so there is nothing to wait for.
fn read(bytes: &[u8]) -> (Option<Source>, usize) {
    let mut rest = bytes;
    let read = {
        let mut reading = pin!(read_header(&mut rest));
        match reading
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(read) => read.ok(),
            Poll::Pending => panic!("nothing is missing"),
        }
    };
    (read, bytes.len() - rest.len())
}

fuzz_target!(|bytes: &[u8]| {
    let (source, taken) = read(bytes);
    assert!(taken <= 16 + 2048);
    if source.is_some() {
        assert_eq!(read(&bytes[..taken]), (source, taken));
        assert_eq!(
            read(&[&bytes[..taken], b"\x16\x03\x01"].concat()),
            (source, taken)
        );
        assert_eq!(read(&bytes[..taken - 1]).0, None);
    }
});
