//! Real files in a real directory; nothing sleeps, everything waits for a fragment with a deadline.

use super::*;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

struct Running {
    directory: TempDir,
    fragments: Receiver<Fragment>,
    reload: Reload,
}

fn text(port: u16, more: &str) -> String {
    format!(
        "entrypoints \"web\" {{\n  address = \"127.0.0.1:{port}\"\n}}\nrouters \"r\" {{\n  rule = \"PathPrefix(`/`)\"\n  service = \"s\"\n}}\nservices \"s\" {{\n  respond {{ }}\n}}\n{more}"
    )
}

impl Running {
    async fn start(prepare: impl FnOnce(&Path)) -> Running {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let provider = FileProvider::new(Source::new(directory.path().join("gateway.hcl")));
        let reload = provider.reload();
        let (out, fragments) = mpsc::channel(16);
        tokio::spawn(provider.run(out));
        Running {
            directory,
            fragments,
            reload,
        }
    }

    async fn next(&mut self) -> Loaded {
        let next = tokio::time::timeout(Duration::from_secs(20), self.fragments.recv()).await;
        next.expect("a fragment in time")
            .expect("the provider runs")
            .loaded
    }

    async fn port(&mut self) -> String {
        let loaded = self.next().await;
        let config = loaded
            .config
            .unwrap_or_else(|| panic!("{}", loaded.diagnostics));
        config.entrypoints["web"].address.to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn plain(directory: &Path) {
    fs::write(directory.join("gateway.hcl"), text(1, "")).unwrap();
}

#[tokio::test]
async fn a_file_that_is_written_over_is_loaded_again() {
    let mut running = Running::start(plain).await;
    assert_eq!(running.port().await, "127.0.0.1:1");
    fs::write(running.path("gateway.hcl"), text(2, "")).unwrap();
    assert_eq!(running.port().await, "127.0.0.1:2");
}

#[tokio::test]
async fn a_file_that_is_renamed_into_place_is_loaded_again() {
    let mut running = Running::start(plain).await;
    running.port().await;
    for port in [2, 3] {
        fs::write(running.path(".gateway.hcl.swp"), text(port, "")).unwrap();
        fs::rename(
            running.path(".gateway.hcl.swp"),
            running.path("gateway.hcl"),
        )
        .unwrap();
        assert_eq!(running.port().await, format!("127.0.0.1:{port}"));
    }
}

#[tokio::test]
async fn identical_content_sends_nothing_and_a_reload_always_sends() {
    let mut running = Running::start(plain).await;
    running.port().await;
    fs::write(running.path("gateway.hcl"), text(1, "")).unwrap();
    fs::write(running.path("unrelated.txt"), "x").unwrap();
    fs::write(running.path("gateway.hcl"), text(2, "")).unwrap();
    assert_eq!(running.port().await, "127.0.0.1:2");
    running.reload.now();
    assert_eq!(running.port().await, "127.0.0.1:2");
}

#[tokio::test]
async fn an_emptied_file_is_a_fragment_with_errors_and_the_next_one_is_good_again() {
    let mut running = Running::start(plain).await;
    running.port().await;
    fs::write(running.path("gateway.hcl"), "").unwrap();
    let loaded = running.next().await;
    assert!(loaded.config.is_none() && loaded.diagnostics.to_string().contains("is empty"));
    fs::write(running.path("gateway.hcl"), text(2, "")).unwrap();
    assert_eq!(running.port().await, "127.0.0.1:2");
}

#[tokio::test]
async fn a_swapped_data_link_is_seen_as_kubernetes_swaps_it() {
    use std::os::unix::fs::symlink;
    let mut running = Running::start(|directory| {
        for (version, port) in [("..1", 1), ("..2", 2)] {
            fs::create_dir(directory.join(version)).unwrap();
            fs::write(directory.join(version).join("gateway.hcl"), text(port, "")).unwrap();
        }
        symlink("..1", directory.join("..data")).unwrap();
        symlink("..data/gateway.hcl", directory.join("gateway.hcl")).unwrap();
    })
    .await;
    assert_eq!(running.port().await, "127.0.0.1:1");
    symlink("..2", running.path("..data_tmp")).unwrap();
    fs::rename(running.path("..data_tmp"), running.path("..data")).unwrap();
    assert_eq!(running.port().await, "127.0.0.1:2");
}

#[tokio::test]
async fn a_directory_that_appears_later_is_followed() {
    let more = "providers {\n  file { directory = \"conf.d\" }\n}\n";
    let mut running = Running::start(|directory| {
        fs::write(directory.join("gateway.hcl"), text(1, more)).unwrap();
    })
    .await;
    let loaded = running.next().await;
    assert_eq!(loaded.config.unwrap().services.len(), 1);
    assert!(
        loaded
            .diagnostics
            .to_string()
            .contains("does not exist yet")
    );
    fs::create_dir(running.path("conf.d")).unwrap();
    let service = "routers \"t\" {\n  rule = \"Path(`/t`)\"\n  service = \"t\"\n}\nservices \"t\" {\n  respond { }\n}\n";
    fs::write(running.path("conf.d/t.hcl"), service).unwrap();
    let mut services = 1;
    while services == 1 {
        // The directory may be seen before its file.
        services = running.next().await.config.unwrap().services.len();
    }
    assert_eq!(services, 2);
    fs::remove_file(running.path("conf.d/t.hcl")).unwrap();
    assert_eq!(running.next().await.config.unwrap().services.len(), 1);
}

#[tokio::test]
async fn without_watching_only_a_reload_is_heard() {
    let off = "providers {\n  file { watch = false }\n}\n";
    let mut running = Running::start(|directory| {
        fs::write(directory.join("gateway.hcl"), text(1, off)).unwrap();
    })
    .await;
    running.port().await;
    fs::write(running.path("gateway.hcl"), text(2, off)).unwrap();
    running.reload.now();
    assert_eq!(running.port().await, "127.0.0.1:2");
    assert!(running.fragments.try_recv().is_err());
}

#[tokio::test]
async fn a_provider_after_a_load_sends_only_what_differs() {
    let directory = tempfile::tempdir().unwrap();
    plain(directory.path());
    let source = Source::new(directory.path().join("gateway.hcl"));
    let loaded = load(&source);
    // Between the reading and the watching.
    fs::write(directory.path().join("gateway.hcl"), text(2, "")).unwrap();
    let (out, fragments) = mpsc::channel(1);
    tokio::spawn(FileProvider::after(source, loaded).run(out));
    let reload = Reload::default();
    let mut running = Running {
        directory,
        fragments,
        reload,
    };
    assert_eq!(running.port().await, "127.0.0.1:2");
}

#[tokio::test]
async fn the_task_ends_when_nobody_listens() {
    let directory = tempfile::tempdir().unwrap();
    plain(directory.path());
    let (out, mut fragments) = mpsc::channel(1);
    let provider = FileProvider::new(Source::new(directory.path().join("gateway.hcl")));
    let task = tokio::spawn(provider.run(out));
    fragments.recv().await.unwrap();
    drop(fragments);
    tokio::time::timeout(Duration::from_secs(20), task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_no_event_comes_the_files_are_compared() {
    let directory = tempfile::tempdir().unwrap();
    plain(directory.path());
    let loaded = load(&Source::new(directory.path().join("gateway.hcl")));
    let mut polling = Watching {
        on: true,
        watch: None,
    };
    let minute = Duration::from_secs(60);
    let unchanged = tokio::time::timeout(minute, polling.changed(&loaded)).await;
    assert!(unchanged.is_err());
    fs::write(directory.path().join("gateway.hcl"), text(2, "")).unwrap();
    let changed = tokio::time::timeout(minute, polling.changed(&loaded)).await;
    assert!(changed.is_ok());
}
