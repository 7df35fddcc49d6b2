//! Certificates and keys that change while clients come and stay.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use support::tls::{Authority, connect, write};
use support::{Client, Process, Server, Setup, within};

/// The names of the certificate that a new connection is shown.
async fn shown(authority: &Authority, address: SocketAddr) -> Vec<u8> {
    let config = authority.trusting(&["http/1.1"]);
    let stream = connect(config, address, "a.test").await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain[0].to_vec()
}

/// Waits until another certificate is shown than this one; returns it.
async fn another(authority: &Authority, address: SocketAddr, than: &[u8]) -> Vec<u8> {
    let changed = async {
        loop {
            let now = shown(authority, address).await;
            if now != than {
                return now;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("another certificate", changed).await
}

#[tokio::test]
async fn a_certificate_is_replaced_and_nobody_notices_but_new_clients() {
    let authority = Authority::new();
    let server = Server::start().await;
    let (cert, key) = authority.pair("server", &["a.test"]);
    let tls = json!({ "cert_file": cert, "key_file": key });
    let setup = Setup::to(server.url("http")).set("entrypoints/web/tls", tls);
    let gateway = Process::start(&setup.text(), &["web"]).await;
    let address = gateway.address("web");
    let config = authority.trusting(&["h2"]);
    let stream = connect(config, address, "a.test").await.unwrap();
    let mut there = Client::h2(stream).await;
    assert_eq!(there.get("/").await.status, 200);
    let first = shown(&authority, address).await;

    // A new pair.
    authority.pair("server", &["a.test"]);
    let second = another(&authority, address, &first).await;
    gateway.logs("the file has changed and is in use").await;

    // One of no use: the key is another's. Then nothing at all.
    let (_, other_key) = authority.issue("a.test");
    let key = Path::new(&key);
    let good_key = fs::read_to_string(key).unwrap();
    write(key, &other_key);
    gateway.logs("the key is that of another certificate").await;
    assert_eq!(shown(&authority, address).await, second);
    fs::remove_file(key).unwrap();
    gateway.logs("what it held before stays").await;
    assert_eq!(shown(&authority, address).await, second);
    assert!(!gateway.log().contains("PRIVATE KEY"));

    // What was good is good again, and so is what comes after.
    write(key, &good_key);
    authority.pair("server", &["a.test"]);
    another(&authority, address, &second).await;
    assert_eq!(there.get("/").await.status, 200);
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_is_followed_and_a_reload_keeps_what_files_hold() {
    let authority = Authority::new();
    let server = Server::start().await;
    // As Kubernetes mounts a secret: a link to a directory that is replaced as a whole.
    let mount = tempfile::tempdir().unwrap();
    let version = |name: &str| {
        let directory = mount.path().join(name);
        fs::create_dir(&directory).unwrap();
        let (cert, key) = authority.issue("a.test");
        write(&directory.join("tls.crt"), &cert);
        write(&directory.join("tls.key"), &key);
        let link = mount.path().join("..data_tmp");
        symlink(name, &link).unwrap();
        fs::rename(link, mount.path().join("..data")).unwrap();
    };
    version("..1");
    for file in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(file), mount.path().join(file)).unwrap();
    }
    let file = |name: &str| mount.path().join(name).display().to_string();
    let tls = json!({ "cert_file": file("tls.crt"), "key_file": file("tls.key") });
    let setup = Setup::to(server.url("http")).set("entrypoints/web/tls", tls);
    let gateway = setup.start().await;
    let address = gateway.address();
    let first = shown(&authority, address).await;
    version("..2");
    let second = another(&authority, address, &first).await;

    // A file that is of no use now does not keep a reload from taking effect, nor does it come into use by it.
    let key = mount.path().join("..data/tls.key");
    write(&key, "no key\n");
    gateway
        .become_(&setup.clone().route("other", "Path(`/other`)", "backend"))
        .await;
    assert_eq!(shown(&authority, address).await, second);
}

#[tokio::test]
async fn connections_stay_while_tls_is_written_anew_again_and_again() {
    let authority = Authority::new();
    let server = Server::start().await;
    let (cert, key) = authority.pair("one", &["a.test"]);
    let (other_cert, other_key) = authority.pair("two", &["a.test"]);
    let setup = |cert: &str, key: &str| {
        let tls = json!({ "cert_file": cert, "key_file": key });
        Setup::to(server.url("http")).set("entrypoints/web/tls", tls)
    };
    let setups = [setup(&cert, &key), setup(&other_cert, &other_key)];
    let gateway = setups[0].start().await;
    let mut clients = Vec::new();
    for protocol in ["http/1.1", "h2"] {
        let config = authority.trusting(&[protocol]);
        let stream = connect(config, gateway.address(), "a.test").await.unwrap();
        clients.push(match protocol {
            "h2" => Client::h2(stream).await,
            _ => Client::h1(stream).await,
        });
    }
    let first = shown(&authority, gateway.address()).await;
    for turn in 1..=50 {
        gateway.become_(&setups[turn % 2]).await;
        for client in &mut clients {
            assert_eq!(client.get("/").await.status, 200);
        }
        let now = shown(&authority, gateway.address()).await;
        assert_eq!(now == first, turn % 2 == 0, "{turn}");
    }
}
