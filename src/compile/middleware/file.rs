//! Files that a middleware goes on reading: keys, users.

use super::upkeep::Task;
use crate::config::text_file::read;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tower::BoxError;

/// How often a file is read again. Comparing what it holds finds every change on every file system, and a file of keys
/// is read in no time.
const PERIOD: Duration = Duration::from_secs(1);

/// How long a file that has changed must hold still before it is used: whoever writes it may not be done.
const SETTLE: Duration = Duration::from_millis(100);

/// A file, and what it held when it was last read.
#[derive(Debug)]
pub(super) struct Followed {
    path: PathBuf,
    text: String,
}

impl Followed {
    /// Reads a file for the first time.
    pub(super) fn read(path: &Path) -> Result<Self, BoxError> {
        let text = read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            text,
        })
    }

    /// Hands what the file holds to `replace`, now and whenever it has changed.
    pub(super) fn begin(
        self,
        middleware: &str,
        replace: impl Fn(&str) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Result<Task, BoxError> {
        replace(&self.text).map_err(|error| format!("{}: {error}", self.path.display()))?;
        Ok(self.follow(middleware, replace))
    }

    /// What cannot be read or used leaves everything as it was, and is told in the log, once for each change.
    fn follow(
        self,
        middleware: &str,
        replace: impl Fn(&str) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Task {
        let middleware = middleware.to_owned();
        Box::pin(async move {
            let Self { path, mut text } = self;
            let mut told: Option<String> = None;
            let mut ticks = interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(found) = read_still(&path, &text).await else {
                    return;
                };
                let outcome = match found {
                    Ok(found) if found == text => {
                        told = None;
                        continue;
                    }
                    Ok(found) => replace(&found).map(|()| text = found),
                    Err(error) => Err(error.into()),
                };
                let path = path.display();
                match outcome {
                    Ok(()) => {
                        told = None;
                        tracing::info!(%middleware, %path, "the file has changed and is in use");
                    }
                    Err(error) => {
                        let error = error.to_string();
                        if told.as_ref() != Some(&error) {
                            tracing::warn!(%middleware, %path, %error, "the file is of no use, what it held before stays");
                            told = Some(error);
                        }
                    }
                }
            }
        })
    }
}

/// What a file holds once it no longer changes, if that is not what it held `before`. None where there is no runtime
/// any more.
async fn read_still(path: &Path, before: &str) -> Option<io::Result<String>> {
    let mut last: Option<String> = None;
    loop {
        let path = path.to_owned();
        match tokio::task::spawn_blocking(move || read(&path))
            .await
            .ok()?
        {
            Ok(found) if found != before && last.as_ref() != Some(&found) => last = Some(found),
            settled => return Some(settled),
        }
        sleep(SETTLE).await;
    }
}
