use std::future::poll_fn;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::tls::{ServerTls, TlsSettings, dev};

/// Counts the reads that reach the stream below.
struct Counted<S> {
    stream: S,
    reads: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reads += 1;
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

/// Reads once, at most `len` bytes; `None` where nothing is there yet.
async fn read_now<S: AsyncRead + Unpin>(
    stream: &mut Buffered<S>,
    len: usize,
) -> Option<io::Result<Vec<u8>>> {
    let mut storage = vec![0; len];
    let mut out = ReadBuf::new(&mut storage);
    let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut out))).await;
    match read {
        Poll::Pending => None,
        Poll::Ready(result) => Some(result.map(|()| out.filled().to_vec())),
    }
}

#[tokio::test]
async fn small_reads_of_much_data_cost_few_reads_below() {
    let sent = pattern(4 << 20);
    let (mut peer, stream) = duplex(sent.len());
    peer.write_all(&sent).await.unwrap();
    drop(peer);
    let mut stream = Buffered::new(Counted { stream, reads: 0 });
    let mut received = Vec::new();
    loop {
        let part = read_now(&mut stream, 4096).await.unwrap().unwrap();
        assert!(part.len() <= 4096);
        if part.is_empty() {
            break;
        }
        received.extend(part);
    }
    assert!(received == sent);
    // 16, 64, then sixteen times 256 KiB at most, and the end.
    assert!(
        stream.stream.reads <= 2 + 16 + 1,
        "{} reads",
        stream.stream.reads
    );
}

#[tokio::test]
async fn the_buffer_grows_when_filled_and_shrinks_when_mostly_empty() {
    let (mut peer, stream) = duplex(1 << 20);
    let mut stream = Buffered::new(stream);
    assert!(read_now(&mut stream, 1).await.is_none());
    for (sent, held) in [
        (MIN_BUFFER - 1, MIN_BUFFER),
        (MIN_BUFFER, MIN_BUFFER),
        (4 * MIN_BUFFER, 4 * MIN_BUFFER),
        (100_000, MAX_BUFFER),
        (MAX_BUFFER, MAX_BUFFER),
        (100, MAX_BUFFER),
        (100, 4 * MIN_BUFFER),
        (100, MIN_BUFFER),
        (100, MIN_BUFFER),
    ] {
        peer.write_all(&pattern(sent)).await.unwrap();
        assert_eq!(read_now(&mut stream, 1).await.unwrap().unwrap(), [0]);
        assert_eq!(stream.buffer.len(), held);
        let rest = read_now(&mut stream, MAX_BUFFER).await.unwrap().unwrap();
        assert!(rest == pattern(sent)[1..]);
        assert!(read_now(&mut stream, 1).await.is_none());
        assert!(stream.buffer.is_empty(), "held while idle");
    }
}

#[tokio::test]
async fn a_reused_buffer_shows_nothing_of_the_connection_before() {
    for sent in [vec![0xAA; 2 * MAX_BUFFER], vec![0x55; MAX_BUFFER]] {
        let (mut peer, stream) = duplex(2 * MAX_BUFFER);
        let mut stream = Buffered::new(stream);
        stream.wanted = MAX_BUFFER;
        peer.write_all(&sent).await.unwrap();
        drop(peer);
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        assert!(received == sent);
    }
}

#[tokio::test]
async fn a_read_for_no_bytes_is_not_the_end() {
    let (mut peer, stream) = duplex(16);
    let mut stream = Buffered::new(stream);
    assert_eq!(read_now(&mut stream, 0).await.unwrap().unwrap(), [0u8; 0]);
    peer.write_all(b"x").await.unwrap();
    assert_eq!(read_now(&mut stream, 8).await.unwrap().unwrap(), b"x");
}

#[tokio::test]
async fn bytes_that_arrived_before_an_error_are_read_first() {
    struct Broken(bool);
    impl AsyncRead for Broken {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            out.put_slice(b"abc");
            Poll::Ready(Ok(()))
        }
    }
    let mut stream = Buffered::new(Broken(false));
    assert_eq!(read_now(&mut stream, 2).await.unwrap().unwrap(), b"ab");
    assert_eq!(read_now(&mut stream, 2).await.unwrap().unwrap(), b"c");
    let error = read_now(&mut stream, 2).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(stream.buffer.is_empty());
}

#[tokio::test]
async fn a_peer_that_takes_nothing_shows_until_it_takes_something() {
    let (mut peer, stream) = duplex(8);
    let mut stream = Buffered::new(stream);
    let backpressure = stream.backpressure();
    stream.write_all(&[0; 8]).await.unwrap();
    assert_eq!(backpressure.write_blocked_for(), None);

    let attempt = |stream: &mut Buffered<DuplexStream>, cx: &mut Context<'_>| {
        Pin::new(stream).poll_write(cx, &[0; 8])
    };
    let blocked = poll_fn(|cx| Poll::Ready(attempt(&mut stream, cx))).await;
    assert!(blocked.is_pending());
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Neither a further attempt nor a flush that has nothing to do starts the count anew.
    let blocked = poll_fn(|cx| Poll::Ready(attempt(&mut stream, cx))).await;
    assert!(blocked.is_pending());
    stream.flush().await.unwrap();
    assert!(backpressure.write_blocked_for().unwrap() >= Duration::from_millis(15));

    peer.read_exact(&mut [0; 4]).await.unwrap();
    assert_eq!(poll_fn(|cx| attempt(&mut stream, cx)).await.unwrap(), 4);
    assert_eq!(backpressure.write_blocked_for(), None);
}

#[tokio::test]
async fn a_flush_that_waits_counts_as_blocked() {
    struct SlowFlush(u8);
    impl AsyncWrite for SlowFlush {
        fn poll_write(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.0 == 0 {
                return Poll::Ready(Ok(()));
            }
            self.0 -= 1;
            Poll::Pending
        }
        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let mut stream = Buffered::new(SlowFlush(1));
    let backpressure = stream.backpressure();
    let flush = poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_flush(cx))).await;
    assert!(flush.is_pending());
    assert!(backpressure.write_blocked_for().is_some());
    stream.flush().await.unwrap();
    assert_eq!(backpressure.write_blocked_for(), None);
}

#[tokio::test]
async fn tls_runs_over_it_and_leaves_no_buffer_when_idle() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = ["localhost".parse().unwrap()];
    let files = dev::make(dir.path(), &hosts, dev::DEFAULT_DAYS, false).unwrap();
    let tls = ServerTls::load(files.server(), TlsSettings::default()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&files.ca_pem).unwrap())
        .unwrap();
    let provider = Arc::clone(tls.config().crypto_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let (near, far) = duplex(1 << 20);
    let name = ServerName::try_from("localhost").unwrap();
    let connect = TlsConnector::from(Arc::new(client)).connect(name, near);
    let accept = TlsAcceptor::from(tls.config()).accept(Buffered::new(far));
    let (mut client, mut server) = tokio::try_join!(connect, accept).unwrap();

    let sent = pattern(3 << 20);
    let mut received = vec![0; sent.len()];
    let write = async {
        client.write_all(&sent).await?;
        client.flush().await
    };
    tokio::try_join!(write, server.read_exact(&mut received)).unwrap();
    assert!(received == sent);

    server.write_all(b"ok").await.unwrap();
    server.flush().await.unwrap();
    client.read_exact(&mut [0; 2]).await.unwrap();
    let mut byte = [0; 1];
    let mut out = ReadBuf::new(&mut byte);
    let idle = poll_fn(|cx| Poll::Ready(Pin::new(&mut server).poll_read(cx, &mut out))).await;
    assert!(idle.is_pending());
    let transport = server.get_ref().0;
    assert!(transport.buffer.is_empty());
    assert_eq!(transport.backpressure.write_blocked_for(), None);
}
