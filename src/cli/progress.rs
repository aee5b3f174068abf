//! How far a command has come, for people who watch.

use std::io::{self, IsTerminal, Read};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Below this many bytes it is over before anyone has read it.
const WORTH_SHOWING: u64 = 64 << 20;
/// How often the picture changes in a second.
const HERTZ: u8 = 5;
/// How a bar looks, and what there is in place of one where nobody knows how much will come.
const BAR: &str = "{msg} {wide_bar} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left";
const COUNTER: &str = "{msg} {bytes}, {binary_bytes_per_sec}";
const ITEMS: &str = "{msg} {human_pos}, {per_sec}";

/// A bar on stderr, where that is a terminal. Gone when dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// For `size` bytes of what is called `name`. `None`: it is unknown how much there will be, so nothing is shown.
    pub(super) fn new(name: &str, size: Option<u64>) -> Self {
        let shown = size.filter(|size| *size >= WORTH_SHOWING && io::stderr().is_terminal());
        let Some(size) = shown else {
            return Self(ProgressBar::hidden());
        };
        let target = ProgressDrawTarget::stderr_with_hz(HERTZ);
        let bar = ProgressBar::with_draw_target(Some(size), target);
        dress(&bar, name, BAR);
        Self(bar)
    }

    /// So many bytes more are done.
    pub(super) fn advance(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }

    /// Counts what is read from `input`.
    pub(super) fn watch<R: Read>(&self, input: R) -> Watched<R> {
        Watched {
            input,
            bar: self.0.clone(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn dress(bar: &ProgressBar, name: &str, style: &str) {
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_message(name.replace(char::is_control, " "));
    bar.enable_steady_tick(Duration::from_millis(500));
}

/// Several bars below each other on stderr, where that is a terminal.
#[derive(Clone)]
pub(super) struct Bars(MultiProgress);

impl Bars {
    pub(super) fn new() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(HERTZ);
        Self(MultiProgress::with_draw_target(target))
    }

    /// One more, for `size` bytes of what is called `name`, or for as many as there will be.
    pub(super) fn add(&self, name: &str, size: Option<u64>) -> Bar {
        if self.0.is_hidden() {
            return Bar(ProgressBar::hidden());
        }
        let bar = match size {
            Some(size) => self.0.add(ProgressBar::new(size)),
            None => self.0.add(ProgressBar::no_length()),
        };
        dress(&bar, name, size.map_or(COUNTER, |_| BAR));
        Bar(bar)
    }

    /// One more, for things that are counted, of which nobody knows how many there will be.
    pub(super) fn count(&self, name: &str) -> Bar {
        if self.0.is_hidden() {
            return Bar(ProgressBar::hidden());
        }
        let bar = self.0.add(ProgressBar::no_length());
        dress(&bar, name, ITEMS);
        Bar(bar)
    }

    /// Does what prints lines, while no bar is in the way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}

/// One of several bars. Its clones are the same bar.
#[derive(Clone)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// So many bytes, or things, more are done.
    pub(super) fn advance(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }

    /// So many bytes are done in all. What was done at once does not count for the speed.
    pub(super) fn jump_to(&self, bytes: u64) {
        if self.0.position() != bytes {
            self.0.set_position(bytes);
            self.0.reset_eta();
        }
    }

    /// Takes it away.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// A reader that moves a [`Progress`] on.
pub(super) struct Watched<R> {
    input: R,
    bar: ProgressBar,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.input.read(into)?;
        self.bar.inc(size as u64);
        Ok(size)
    }
}
