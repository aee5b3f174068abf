//! The end of a log that is there already: where its chain is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::TORN;
use super::chain::{Chain, Line, MAX_TORN};

/// How far back a whole line is looked for: behind it there may be several torn ones, from tries on a full disk.
const WINDOW: u64 = MAX_TORN as u64;

/// Where the chain in `file` is. `None`: its end is no end of a log.
pub(super) fn chain_of(file: &File) -> io::Result<Option<Chain>> {
    let size = file.metadata()?.len();
    let from = size.saturating_sub(WINDOW);
    let mut window = vec![0; usize::try_from(size - from).unwrap_or_default()];
    file.read_exact_at(&mut window, from)?;
    Ok(read(&window, from == 0))
}

/// The chain at the end of `window`. `whole`: nothing is before it.
fn read(window: &[u8], whole: bool) -> Option<Chain> {
    // Behind the last line's end: what a crash tore, if anything.
    let mut end = memchr::memrchr(b'\n', window).map_or(0, |at| at + 1);
    loop {
        let start = memchr::memrchr(b'\n', &window[..end.saturating_sub(1)]);
        let line = &window[start.map_or(0, |at| at + 1)..end];
        let mut chain = if line.is_empty() {
            // A first line that was torn: there is no whole one.
            whole.then(Chain::new)?
        } else if line.ends_with(TORN) {
            end = start.map_or(0, |at| at + 1);
            continue;
        } else {
            // One that begins before the window is longer than any of ours.
            start.or(whole.then_some(0))?;
            Chain::after(Line::parse(line)?.seq, line)
        };
        if window.len() > end {
            chain.tear(&window[end..]);
        }
        return Some(chain);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::audit::{Entry, Event};

    fn lines(count: usize) -> (Vec<u8>, Chain) {
        let (mut chain, mut text) = (Chain::new(), Vec::new());
        for _ in 0..count {
            chain.extend(SystemTime::now(), &Entry::new(Event::Read), &mut text);
        }
        (text, chain)
    }

    #[test]
    fn the_chain_is_found_behind_the_last_line_and_what_was_torn() {
        for count in 0..3 {
            for torn in [&b""[..], b"{\"seq\":7,\"ti", b"{\"se#torn\n", b"a#torn\nb"] {
                let (mut text, mut expected) = lines(count);
                text.extend_from_slice(torn);
                if !torn.is_empty() {
                    expected.tear(torn);
                }
                let found = read(&text, true).unwrap();
                assert_eq!(found.seq, count as u64, "{torn:?}");
                assert_eq!(found.head(), expected.head(), "{torn:?}");
                assert_eq!(found.torn, torn.len() as u64);
            }
        }
    }

    #[test]
    fn what_is_no_end_of_a_log_is_none() {
        let (text, _) = lines(2);
        let long = [&text[..], &vec![b'x'; 300_000]].concat();
        for window in [
            &b"hello\n"[..],
            b"\n",
            &[&text[..], b"\n"].concat(),
            b"{}\n",
        ] {
            assert!(read(window, true).is_none(), "{window:?}");
        }
        assert!(read(&long[long.len() - 262_144..], false).is_none());
        assert!(read(&text[5..], false).is_some());
        assert!(read(&text[text.len() - 20..], false).is_none());
    }
}
