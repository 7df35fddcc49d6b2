//! Programs of others: found on this machine, or installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What the Python programs in `tests/python/` import.
const PACKAGES: [&str; 5] = [
    "grpcio==1.76.0",
    "h2==4.3.0",
    "prometheus-client==0.26.0",
    "wsproto==1.2.0",
    "websockets==15.0.1",
];

/// A program of this name; where there is none, Debian's package is installed.
pub fn program(name: &str, package: &str) -> PathBuf {
    let found = find(name).or_else(|| {
        install(&[package]);
        find(name)
    });
    found.unwrap_or_else(|| {
        panic!("{name}: not installed, and `apt-get install {package}` did not help")
    })
}

/// A program in one of the directories of `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// Installs packages of Debian, as far as that is possible.
pub fn install(packages: &[&str]) {
    let apt = |args: &[&str]| {
        let status = Command::new("apt-get")
            .args(["-q", "-y", "-o", "DPkg::Lock::Timeout=120"])
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    let install = || apt(&[&["install", "--no-install-recommends"], packages].concat());
    // A machine that is fresh knows of no packages.
    if !install() && apt(&["update"]) {
        install();
    }
}

/// Runs a program of `tests/python/` with these arguments.
pub fn python(program: &str) -> Command {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(PYTHON.get_or_init(environment));
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    // Its words are read as they are said.
    command.arg("-u").arg(programs.join(program));
    command
}

/// An environment of our own, beside what Cargo builds, with the packages in it. It is made once.
fn environment() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = directory.join("bin/python");
    let done = directory.join("packages");
    let wanted = PACKAGES.join("\n");
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    let make = || {
        let mut make = Command::new(program("python3", "python3"));
        make.args(["-m", "venv", "--clear"]).arg(&directory);
        make.status().is_ok_and(|status| status.success())
    };
    if !make() {
        install(&["python3-venv"]);
        assert!(make(), "python3 -m venv: failed");
    }
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    let status = pip.args(PACKAGES).status().expect("a program that runs");
    assert!(status.success(), "pip install {PACKAGES:?}: failed");
    std::fs::write(done, wanted).expect("a directory that was just made");
    python
}

/// The browser that Node's programs drive.
const PLAYWRIGHT: &str = "playwright-core@1.65.1";

/// Runs a program of `tests/node/`; it finds a browser in `CHROMIUM`, and what drives one below
/// `NODE_PACKAGES`.
pub fn node(script: &str) -> Command {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(program("node", "nodejs"));
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    command
        .arg(scripts.join(script))
        .env("CHROMIUM", program("chromium", "chromium"))
        .env("NODE_PACKAGES", PACKAGES.get_or_init(node_packages));
    command
}

/// A directory of our own, beside what Cargo builds, with the packages in it. It is made once.
fn node_packages() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
    let done = directory.join("packages");
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == PLAYWRIGHT) {
        return directory;
    }
    std::fs::create_dir_all(&directory).expect("a directory");
    let mut npm = Command::new(program("npm", "npm"));
    npm.args([
        "install",
        "--no-audit",
        "--no-fund",
        "--no-save",
        "--silent",
    ]);
    npm.arg("--prefix").arg(&directory).arg(PLAYWRIGHT);
    // The browser is Debian's.
    npm.env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
    let status = npm.status().expect("a program that runs");
    assert!(status.success(), "npm install {PLAYWRIGHT}: failed");
    std::fs::write(done, PLAYWRIGHT).expect("a directory that was just made");
    directory
}
