//! A bar that shows how far a long command is, on a terminal; elsewhere nothing is drawn.

use indicatif::{ProgressBar, ProgressStyle};

/// How far a command is.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Begins to show what is done, of so many steps.
    pub(crate) fn new(what: &'static str, steps: u64) -> Self {
        let bar = ProgressBar::new(steps);
        // A template of our own can't be wrong; if it were, the bar has the common form.
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {percent}% {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self(bar)
    }

    /// Shows how many steps are done.
    pub(crate) fn at(&self, step: u64) {
        self.0.set_position(step);
    }

    /// Writes lines while the bar is out of the way.
    pub(crate) fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
