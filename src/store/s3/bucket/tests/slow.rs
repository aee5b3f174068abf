//! Answers that come slowly.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame};
use tokio::time::{Interval, interval};

use super::*;
use crate::store::s3::bucket::connector::collect;

/// So many bytes now and then, without end.
struct Drops {
    bytes: usize,
    when: Interval,
    /// For so long everything stands still before the first of them.
    standstill: Duration,
}

impl Body for Drops {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        thread::sleep(std::mem::take(&mut self.standstill));
        let bytes = self.bytes;
        let drop = |_| Some(Ok(Frame::data(vec![0; bytes].into())));
        self.when.poll_tick(context).map(drop)
    }
}

#[test]
fn an_answer_that_only_drips_ends() {
    const STALL: Duration = Duration::from_millis(200);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let read = |bytes, most, standstill| {
        runtime.block_on(async {
            let begun = Instant::now();
            let drops = Drops {
                bytes,
                when: interval(STALL / 10),
                standstill,
            };
            (collect(drops, most, STALL).await, begun.elapsed())
        })
    };
    let (drips, took) = read(1, 64 << 20, Duration::ZERO);
    assert!(matches!(drips, Err(BucketError::TimedOut)), "{drips:?}");
    // So many bytes would have four minutes.
    assert!(took < Duration::from_mins(1), "{took:?}");
    // Fast enough: it is its length that ends it.
    let (flows, took) = read(64 << 10, 2 << 20, Duration::ZERO);
    assert!(matches!(flows, Err(BucketError::TooLong(_))), "{flows:?}");
    assert!(took > STALL, "{took:?}");
    // It stays so when nobody could look at it for a while.
    let (flows, _) = read(64 << 10, 4 << 20, 3 * STALL);
    assert!(matches!(flows, Err(BucketError::TooLong(_))), "{flows:?}");
}
