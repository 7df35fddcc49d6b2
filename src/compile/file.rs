//! Files that the gateway goes on reading: keys, users, certificates.

use super::upkeep::Task;
use crate::config::text_file::read;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tower::BoxError;

/// How often files are read again. Comparing what they hold finds every change on every file system, and a file of keys
/// is read in no time.
const PERIOD: Duration = Duration::from_secs(1);

/// How long files that have changed must hold still before they are used: whoever writes them may not be done.
const SETTLE: Duration = Duration::from_millis(100);

/// Files that belong together, and what they held when they were last read.
pub(super) struct Followed {
    paths: Vec<PathBuf>,
    texts: Vec<String>,
}

impl Followed {
    /// Reads a file for the first time.
    pub(super) fn read(path: &Path) -> Result<Self, BoxError> {
        Self::read_all(&[path])
    }

    /// Reads several for the first time.
    pub(super) fn read_all(paths: &[&Path]) -> Result<Self, BoxError> {
        let text = |path: &&Path| -> Result<String, BoxError> {
            read(path).map_err(|error| format!("{}: {error}", path.display()).into())
        };
        Ok(Self {
            texts: paths.iter().map(text).collect::<Result<_, _>>()?,
            paths: paths.iter().map(|path| path.to_path_buf()).collect(),
        })
    }

    /// What they hold.
    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Hands what the one file holds to `replace`, now and whenever it has changed. The log says what it is `of`.
    pub(super) fn begin(
        self,
        of: &str,
        replace: impl Fn(&str) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Result<Task, BoxError> {
        let replace = move |texts: &[String]| replace(texts.first().map_or("", String::as_str));
        replace(&self.texts).map_err(|error| format!("{}: {error}", self.shown()))?;
        Ok(self.follow(of, replace))
    }

    /// Hands what the files hold to `replace` whenever one has changed. What cannot be read or used leaves everything
    /// as it was, and is told in the log, once for each change.
    pub(super) fn follow(
        self,
        of: &str,
        replace: impl Fn(&[String]) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Task {
        let of = of.to_owned();
        let path = self.shown();
        Box::pin(async move {
            let Self { paths, mut texts } = self;
            let mut told: Option<String> = None;
            let mut ticks = interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(found) = read_still(&paths, &texts).await else {
                    return;
                };
                let outcome = match found {
                    Ok(found) if found == texts => {
                        told = None;
                        continue;
                    }
                    Ok(found) => replace(&found).map(|()| texts = found),
                    Err(error) => Err(error.into()),
                };
                match outcome {
                    Ok(()) => {
                        told = None;
                        tracing::info!(%of, %path, "the file has changed and is in use");
                    }
                    Err(error) => {
                        let error = error.to_string();
                        if told.as_ref() != Some(&error) {
                            tracing::warn!(%of, %path, %error, "the file is of no use, what it held before stays");
                            told = Some(error);
                        }
                    }
                }
            }
        })
    }

    fn shown(&self) -> String {
        let shown = self.paths.iter().map(|path| path.display().to_string());
        shown.collect::<Vec<_>>().join(", ")
    }
}

/// What files hold once they no longer change, if that is not what they held `before`. None where there is no runtime
/// any more.
async fn read_still(paths: &[PathBuf], before: &[String]) -> Option<io::Result<Vec<String>>> {
    let mut last: Option<Vec<String>> = None;
    loop {
        let paths = paths.to_vec();
        let read = move || paths.iter().map(|path| read(path)).collect();
        match tokio::task::spawn_blocking(read).await.ok()? {
            Ok(found) if found != before && last.as_ref() != Some(&found) => last = Some(found),
            settled => return Some(settled),
        }
        sleep(SETTLE).await;
    }
}
