//! Several files: a directory, and the file provider's directory.

use super::*;
use std::fs;
use tempfile::TempDir;

fn files(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

fn load_at(directory: &TempDir, name: &str) -> (Loaded, String) {
    let source = Source::new(directory.path().join(name));
    let loaded = load_in(&source, &environment);
    let told = loaded
        .diagnostics
        .to_string()
        .replace(&format!("{}/", directory.path().display()), "");
    (loaded, told)
}

const ROUTER: &str = "routers \"r\" {\n  rule = \"Path(`/r`)\"\n  service = \"s\"\n}\n";
const SERVICE: &str = "services \"s\" {\n  respond { }\n}\n";

#[test]
fn the_files_of_a_directory_are_one_configuration_in_the_order_of_their_names() {
    let directory = files(&[
        ("b.hcl", ROUTER),
        ("a.hcl", MINIMAL),
        ("c.hcl", SERVICE),
        (".d.hcl", "x"),
        ("e.txt", "x"),
    ]);
    let (loaded, told) = load_at(&directory, "");
    assert_eq!(told, "");
    let config = loaded.config.unwrap();
    assert_eq!(config.routers.keys().collect::<Vec<_>>(), ["api", "r"]);
    assert_eq!(loaded.files.len(), 3);
}

#[test]
fn one_name_in_two_files_names_both() {
    let directory = files(&[
        ("a.hcl", MINIMAL),
        (
            "b.hcl",
            "\n\nservices \"backend\" {\n  respond { }\n}\nshutdown_timeout_secs = 1\n",
        ),
        ("c.hcl", "shutdown_timeout_secs = 2"),
    ]);
    let (_, told) = load_at(&directory, "");
    assert_eq!(
        told,
        "b.hcl:3:1: error[E011]: the block is given twice; first given here a.hcl:11:1\n\
         c.hcl:1:1: error[E011]: `shutdown_timeout_secs` is given twice; first given here b.hcl:6:1"
    );
}

#[test]
fn the_providers_directory_adds_routers_and_services_alone() {
    let main = with("providers {\n  file { directory = \"conf.d\" }\n}\n");
    let directory = files(&[
        ("gateway.hcl", &main),
        ("conf.d/a.hcl", ROUTER),
        ("conf.d/b.hcl", SERVICE),
    ]);
    let (loaded, told) = load_at(&directory, "gateway.hcl");
    assert_eq!(told, "");
    assert_eq!(loaded.config.unwrap().routers.len(), 2);
    assert_eq!(loaded.directories, [directory.path().join("conf.d")]);

    fs::write(
        directory.path().join("conf.d/c.hcl"),
        "admin { }\nvariables { }\n",
    )
    .unwrap();
    let (loaded, told) = load_at(&directory, "gateway.hcl");
    assert!(loaded.config.is_none());
    assert_eq!(
        told,
        "conf.d/c.hcl:1:1: error[E016]: `admin` may not stand in this directory; only `routers`, `services` and `middlewares` may\n\
         conf.d/c.hcl:2:1: error[E016]: `variables` may not stand in this directory; only `routers`, `services` and `middlewares` may"
    );
}

#[test]
fn a_directory_that_is_not_there_is_a_warning_and_is_still_known() {
    let main = with("providers {\n  file { directory = \"conf.d\" }\n}\n");
    let directory = files(&[("gateway.hcl", &main)]);
    let (loaded, told) = load_at(&directory, "gateway.hcl");
    assert!(loaded.config.is_some());
    assert_eq!(
        told,
        "gateway.hcl:18:22: warning[W006]: the directory `conf.d` does not exist yet"
    );
    assert_eq!(loaded.directories.len(), 1);
}

#[test]
fn an_empty_file_is_an_error_in_any_source() {
    let main = with("providers {\n  file { directory = \"conf.d\" }\n}\n");
    let directory = files(&[
        ("gateway.hcl", &main),
        ("conf.d/a.hcl", " \n\t"),
        ("empty.hcl", ""),
        ("none/x", ""),
    ]);
    for (name, expected) in [
        (
            "gateway.hcl",
            "conf.d/a.hcl: error[E003]: conf.d/a.hcl is empty",
        ),
        ("empty.hcl", "empty.hcl: error[E003]: empty.hcl is empty"),
        ("none", "none: error[E003]: the directory has no *.hcl file"),
        (
            "nothing.hcl",
            "nothing.hcl: error[E002]: the file cannot be read: no such file",
        ),
    ] {
        let (loaded, told) = load_at(&directory, name);
        assert!(loaded.config.is_none());
        assert_eq!(told, expected);
    }
    assert!(told("# only a comment\n")[0].contains("there is no entrypoint"));
}

#[test]
fn a_file_is_read_relative_to_the_configuration_and_trimmed() {
    let directory = files(&[
        ("gateway.hcl", &with("admin { token = file(\"secret\") }")),
        ("secret", "hunter2\n"),
    ]);
    let (loaded, told) = load_at(&directory, "gateway.hcl");
    assert_eq!(told, "");
    assert_eq!(
        loaded
            .config
            .unwrap()
            .admin
            .unwrap()
            .token
            .unwrap()
            .expose(),
        "hunter2"
    );
    assert!(loaded.files.contains(&directory.path().join("secret")));
}

#[test]
fn a_variable_of_the_command_line_overrides_a_declared_one() {
    let text = "variables { port = 1 }\nadmin { address = \":${var.port}\" }\nshutdown_timeout_secs = var.port\n";
    let directory = files(&[("gateway.hcl", &with(text))]);
    let mut source = Source::new(directory.path().join("gateway.hcl"));
    source.vars = vec![("port".to_owned(), "9".to_owned())];
    let config = load_in(&source, &environment).config.unwrap();
    assert_eq!(config.admin.unwrap().address.to_string(), "[::]:9");
    assert_eq!(config.shutdown_timeout_secs, 9);
    source.vars = vec![("prt".to_owned(), "9".to_owned())];
    let told = load_in(&source, &environment).diagnostics.to_string();
    assert!(told.contains("variable `prt` of the command line is not declared in `variables`; did you mean `port`?"), "{told}");
}

#[test]
fn the_files_of_tls_are_relative_to_the_configuration_and_a_readable_key_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let text = "entrypoints \"w\" {\n  address = \":80\"\n}\nrouters \"r\" {\n  rule = \"Path(`/`)\"\n  service = \"s\"\n}\nservices \"s\" {\n  load_balancer {\n    servers { url = \"https://a\" }\n    tls {\n      cert_file = \"c.pem\"\n      key_file = \"k.pem\"\n    }\n  }\n}\n";
    let directory = files(&[("gateway.hcl", text), ("c.pem", "x"), ("k.pem", "x")]);
    let key = directory.path().join("k.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (loaded, told) = load_at(&directory, "gateway.hcl");
    assert_eq!(
        told,
        "gateway.hcl:13:18: warning[W005]: everybody can read this private key; chmod 600"
    );
    let balancer = loaded.config.unwrap().services["s"]
        .load_balancer
        .clone()
        .unwrap();
    assert_eq!(balancer.tls.key_file, Some(key));
}

#[tokio::test]
async fn from_file_gives_the_configuration_or_every_problem() {
    let directory = files(&[
        ("good.hcl", MINIMAL),
        ("bad.hcl", "rooters = 1\nadmn { }\n"),
    ]);
    let config = GatewayConfig::from_file(directory.path().join("good.hcl"))
        .await
        .unwrap();
    assert_eq!(config, MINIMAL.parse().unwrap());
    let error = GatewayConfig::from_file(directory.path().join("bad.hcl"))
        .await
        .unwrap_err();
    assert_eq!(error.diagnostics().errors().count(), 3);
    assert_eq!(format!("{error:?}"), error.to_string());
    assert_eq!(error.to_string().lines().count(), 3);
}
