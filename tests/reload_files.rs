//! A gateway that was started from files, and what becomes of changes in them.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use a3s_gateway::config::GatewayConfig;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::{Client, Setup, TestGateway, within};
use tempfile::TempDir;

/// A configuration that answers with `answer`.
fn saying(answer: &str) -> Setup {
    Setup::new()
        .route("all", "PathPrefix(`/`)", "fixed")
        .set("services/fixed/respond/body", answer)
}

/// Where the configuration is, and who watches what becomes of it.
struct Files {
    directory: TempDir,
    gateway: TestGateway,
    client: Client,
}

impl Files {
    /// Starts a gateway on `file` in a directory that `make` has filled.
    async fn start(file: &str, make: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path());
        let config = GatewayConfig::from_file(directory.path().join(file)).await;
        let gateway = TestGateway::start(config.unwrap(), true).await;
        let client = gateway.h1().await;
        Self {
            directory,
            gateway,
            client,
        }
    }

    /// `gateway.hcl` that says `first`.
    async fn of(first: &Setup) -> Self {
        let text = first.text();
        Self::start("gateway.hcl", |directory| {
            fs::write(directory.join("gateway.hcl"), text).unwrap();
        })
        .await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, setup: &Setup) {
        fs::write(self.path(name), setup.text()).unwrap();
    }

    /// What is answered now, on a connection that has been open from the beginning.
    async fn says(&mut self, path: &str) -> String {
        let reply = self.client.get(path).await;
        match reply.status.as_u16() {
            200 => reply.text(),
            status => status.to_string(),
        }
    }

    async fn comes_to_say(&mut self, path: &str, answer: &str) {
        within(&format!("{path} says {answer}"), async {
            while self.says(path).await != answer || self.gateway.health().status != "healthy" {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Waits for longer than a change takes to take effect.
    async fn goes_on_saying(&mut self, answer: &str) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(self.says("/").await, answer);
    }

    fn reloads(&self) -> (f64, f64) {
        let count = |result: &str| {
            let series = format!("gateway_config_reloads_total{{result=\"{result}\"}}");
            self.gateway.metric(&series).unwrap()
        };
        (count("success"), count("failure"))
    }
}

#[tokio::test]
async fn a_file_may_be_written_in_place_in_pieces_or_renamed_over() {
    let mut files = Files::of(&saying("0")).await;
    files.comes_to_say("/", "0").await;
    assert_eq!(files.reloads(), (0.0, 0.0), "it has not changed");
    for round in 0..2 {
        let answer = format!("{round} in place");
        files.write("gateway.hcl", &saying(&answer));
        files.comes_to_say("/", &answer).await;

        // An editor that empties the file, and then writes it piece by piece.
        let answer = format!("{round} in pieces");
        let text = saying(&answer).text();
        let mut file = fs::File::create(files.path("gateway.hcl")).unwrap();
        for piece in text.as_bytes().chunks(text.len().div_ceil(4)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            std::io::Write::write_all(&mut file, piece).unwrap();
        }
        files.comes_to_say("/", &answer).await;

        let answer = format!("{round} renamed");
        files.write("gateway.hcl.tmp", &saying(&answer));
        fs::rename(files.path("gateway.hcl.tmp"), files.path("gateway.hcl")).unwrap();
        files.comes_to_say("/", &answer).await;

        // One that moves the old file out of the way first.
        let answer = format!("{round} anew");
        fs::rename(files.path("gateway.hcl"), files.path("gateway.hcl~")).unwrap();
        files.write("gateway.hcl", &saying(&answer));
        files.comes_to_say("/", &answer).await;
    }
    // Each change is one reload, and no half of a file was ever taken for the whole.
    assert_eq!(files.reloads(), (8.0, 0.0));
}

#[tokio::test]
async fn a_file_that_stays_half_written_is_refused_until_it_is_whole() {
    let mut files = Files::of(&saying("first")).await;
    let text = saying("second").text();
    let (half, rest) = text.split_at(text.len() / 2);
    let mut file = fs::File::create(files.path("gateway.hcl")).unwrap();
    std::io::Write::write_all(&mut file, half.as_bytes()).unwrap();
    within("the half is refused", async {
        while files.gateway.health().status != "degraded" {
            assert_eq!(files.says("/").await, "first");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(files.says("/").await, "first");
    std::io::Write::write_all(&mut file, rest.as_bytes()).unwrap();
    files.comes_to_say("/", "second").await;
    assert_eq!(files.reloads(), (1.0, 1.0));
}

#[tokio::test]
async fn many_writes_in_a_row_end_with_the_last() {
    let mut files = Files::of(&saying("first")).await;
    for number in 0..50 {
        files.write("gateway.hcl", &saying(&number.to_string()));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    files.comes_to_say("/", "49").await;
    let (success, failure) = files.reloads();
    assert!(
        success < 10.0 && failure == 0.0,
        "{success} reloads, {failure} refused"
    );
}

#[tokio::test]
async fn a_link_that_kubernetes_swaps_is_followed() {
    let write = |directory: &Path, version: &str| {
        fs::create_dir(directory.join(version)).unwrap();
        let text = saying(version).text();
        fs::write(directory.join(version).join("gateway.hcl"), text).unwrap();
    };
    let mut files = Files::start("gateway.hcl", |directory| {
        write(directory, "..1");
        symlink("..1", directory.join("..data")).unwrap();
        symlink("..data/gateway.hcl", directory.join("gateway.hcl")).unwrap();
    })
    .await;
    assert_eq!(files.says("/").await, "..1");
    for version in ["..2", "..3", "..4"] {
        write(files.directory.path(), version);
        symlink(version, files.path("..data_tmp")).unwrap();
        fs::rename(files.path("..data_tmp"), files.path("..data")).unwrap();
        files.comes_to_say("/", version).await;
    }
    assert_eq!(files.reloads(), (3.0, 0.0));
}

#[tokio::test]
async fn files_of_a_directory_come_change_and_go() {
    let setup = saying("all").set("providers/file/directory", "conf.d");
    let mut files = Files::start("gateway.hcl", |directory| {
        fs::write(directory.join("gateway.hcl"), setup.text()).unwrap();
    })
    .await;
    assert_eq!(files.says("/x").await, "all");
    let part = |answer: &str| {
        let routers = json!({ "x": { "rule": "PathPrefix(`/x`)", "service": "x" } });
        let services = json!({ "x": { "respond": { "body": answer } } });
        support::gateway::hcl(&json!({ "routers": routers, "services": services }))
    };
    // It appears later.
    fs::create_dir(files.path("conf.d")).unwrap();
    for round in ["1", "2"] {
        fs::write(files.path("conf.d/x.hcl"), part(round)).unwrap();
        files.comes_to_say("/x", round).await;
        fs::write(files.path("conf.d/x.hcl"), part("changed")).unwrap();
        files.comes_to_say("/x", "changed").await;
        // Not ours.
        fs::write(files.path("conf.d/x.hcl.bak"), "{{{").unwrap();
        fs::remove_file(files.path("conf.d/x.hcl")).unwrap();
        files.comes_to_say("/x", "all").await;
    }
    // A bad one is refused as a whole, and what runs goes on.
    fs::write(files.path("conf.d/x.hcl"), part("good")).unwrap();
    files.comes_to_say("/x", "good").await;
    fs::write(files.path("conf.d/bad.hcl"), "routers \"x\" {").unwrap();
    within("it is refused", async {
        while files.gateway.health().status != "degraded" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(files.says("/x").await, "good");
    fs::remove_file(files.path("conf.d/bad.hcl")).unwrap();
    files.comes_to_say("/x", "good").await;
    assert_eq!(files.reloads().1, 1.0);
}

#[tokio::test]
async fn a_whole_directory_is_a_configuration_too() {
    let mut files = Files::start("", |directory| {
        fs::write(directory.join("1.hcl"), saying("1").text()).unwrap();
    })
    .await;
    let more = |answer: &str| {
        let routers = json!({ "x": { "rule": "PathPrefix(`/x`)", "service": "x" } });
        let services = json!({ "x": { "respond": { "body": answer } } });
        support::gateway::hcl(&json!({ "routers": routers, "services": services }))
    };
    fs::write(files.path("2.hcl"), more("2")).unwrap();
    files.comes_to_say("/x", "2").await;
    fs::rename(files.path("2.hcl"), files.path("2.hcl.off")).unwrap();
    files.comes_to_say("/x", "1").await;
}

#[tokio::test]
async fn reread_reads_at_once_and_is_all_there_is_without_watching() {
    let unwatched = |answer: &str| saying(answer).set("providers/file/watch", false);
    let mut files = Files::of(&unwatched("first")).await;
    files.comes_to_say("/", "first").await;
    files.write("gateway.hcl", &unwatched("second"));
    files.goes_on_saying("first").await;
    files.gateway.reread().await;
    files.comes_to_say("/", "second").await;
    // A bad one is refused as it would be if it were watched.
    files.write(
        "gateway.hcl",
        &saying("third").route("bad", "Host(", "fixed"),
    );
    files.gateway.reread().await;
    within("it is refused", async {
        while files.gateway.health().status != "degraded" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(files.says("/").await, "second");
    // The same again is the way back.
    files.write("gateway.hcl", &unwatched("second"));
    files.gateway.reread().await;
    files.comes_to_say("/", "second").await;
    // Watching can be turned on, and off.
    files.write("gateway.hcl", &saying("watched"));
    files.gateway.reread().await;
    files.comes_to_say("/", "watched").await;
    files.write("gateway.hcl", &unwatched("off"));
    files.comes_to_say("/", "off").await;
    files.write("gateway.hcl", &saying("unseen"));
    files.goes_on_saying("off").await;
}

#[tokio::test]
async fn reread_with_nothing_new_is_no_reload() {
    let files = Files::of(&saying("first")).await;
    for _ in 0..3 {
        files.gateway.reread().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(files.reloads(), (0.0, 0.0));
    assert!(files.gateway.health().last_reload.is_none());
}

#[tokio::test]
async fn a_file_that_changed_between_the_reading_and_the_start_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.hcl");
    fs::write(&file, saying("read").text()).unwrap();
    let config = GatewayConfig::from_file(&file).await.unwrap();
    fs::write(&file, saying("changed").text()).unwrap();
    let gateway = TestGateway::start(config, true).await;
    let client = gateway.h1().await;
    let mut files = Files {
        directory,
        gateway,
        client,
    };
    files.comes_to_say("/", "changed").await;
}

#[tokio::test]
async fn a_configuration_of_no_file_can_be_changed_by_call_alone() {
    let gateway = saying("first").start().await;
    gateway.reread().await;
    gateway.become_(&saying("second")).await;
    assert_eq!(gateway.h1().await.get("/").await.text(), "second");
    let last: Value = json!(gateway.health().last_reload);
    assert_eq!(last["success"], true);
}

#[tokio::test]
async fn what_a_file_function_reads_is_watched_too() {
    let text = |name: &str| {
        format!(
            "entrypoints \"web\" {{ address = \"127.0.0.1:0\" }}\n\
             routers \"all\" {{\n rule = \"PathPrefix(`/`)\"\n service = \"fixed\"\n }}\n\
             services \"fixed\" {{\n respond {{ body = file(\"{name}\") }}\n }}\n"
        )
    };
    let mut files = Files::start("gateway.hcl", |directory| {
        fs::write(directory.join("gateway.hcl"), text("body.txt")).unwrap();
        fs::write(directory.join("body.txt"), "first").unwrap();
    })
    .await;
    files.comes_to_say("/", "first").await;
    fs::write(files.path("body.txt"), "second").unwrap();
    files.comes_to_say("/", "second").await;
}
