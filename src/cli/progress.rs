//! How far a command has come, for people who watch.

use std::io::{self, IsTerminal, Read};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Below this many bytes it is over before anyone has read it.
const WORTH_SHOWING: u64 = 64 << 20;

/// A bar on stderr, where that is a terminal. Gone when dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// For `size` bytes of what is called `name`. `None`: it is unknown how much there will be, so nothing is shown.
    pub(super) fn new(name: &str, size: Option<u64>) -> Self {
        let shown = size.filter(|size| *size >= WORTH_SHOWING && io::stderr().is_terminal());
        let Some(size) = shown else {
            return Self(ProgressBar::hidden());
        };
        let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr_with_hz(5));
        let style = "{msg} {wide_bar} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(name.replace(char::is_control, " "));
        bar.enable_steady_tick(Duration::from_millis(500));
        Self(bar)
    }

    /// So many bytes more are done.
    pub(super) fn advance(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }

    /// Counts what is read from `input`.
    pub(super) fn watch<R: Read>(&self, input: R) -> Watched<'_, R> {
        Watched {
            input,
            progress: self,
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A reader that moves a [`Progress`] on.
pub(super) struct Watched<'a, R> {
    input: R,
    progress: &'a Progress,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.input.read(into)?;
        self.progress.advance(size);
        Ok(size)
    }
}
