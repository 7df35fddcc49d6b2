//! Loads a configuration: from a file, a directory, or a text.

use super::check::Tree;
use super::code::Code;
use super::de::Context;
use super::diagnostic::{Diagnostics, Problem};
use super::eval::{Environment, Evaluator};
use super::files::{self, MAX_CONFIG_FILE};
use super::read::{MAX_PROBLEMS, Sections};
use super::source::{At, Files};
use super::syntax;
use super::tree::Map;
use super::trial::Tried;
use super::walk::Scope;
use super::{GatewayConfig, ProvidersConfig, TlsConfig};
use hcl_edit::structure::Body;
use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A file, or a directory whose `*.hcl` are read in the order of their names.
    pub path: PathBuf,
    /// Values of declared variables, instead of those in the file.
    pub vars: Vec<(String, String)>,
}

impl Source {
    /// A file or directory, without variables of the command line.
    pub fn new(path: impl Into<PathBuf>) -> Source {
        Source {
            path: path.into(),
            vars: Vec::new(),
        }
    }
}

/// What came of loading.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration; none where there are errors.
    pub config: Option<GatewayConfig>,
    /// Every problem that was found.
    pub diagnostics: Diagnostics,
    /// What keeps a gateway from starting with it, though one that runs may go on with it.
    pub(super) unusable: Diagnostics,
    /// What there is to say about middlewares of types that are not the gateway's own.
    pub(super) unknown: Diagnostics,
    /// Where the parts stand that only a start tries.
    pub(super) tried: Tried,
    /// Every file that was read, or could not be.
    pub files: Vec<PathBuf>,
    /// Every directory whose `*.hcl` were read, or would have been if it were there.
    pub directories: Vec<PathBuf>,
    /// A fingerprint of all that was read.
    pub(crate) digest: u64,
}

/// Loads and checks. Never panics and never waits: what is not a regular file of a fair size is refused.
pub fn load(source: &Source) -> Loaded {
    load_in(source, &|name| std::env::var(name).ok())
}

/// With an environment of the caller's.
pub(super) fn load_in(source: &Source, environment: Environment<'_>) -> Loaded {
    let mut input = Input::default();
    let base = match source.path.is_dir() {
        true => {
            input.directory(&source.path, false);
            source.path.clone()
        }
        false => {
            input.file(&source.path);
            source.path.parent().unwrap_or(Path::new("")).to_owned()
        }
    };
    let mut loaded = finish(input, &base, &source.vars, environment);
    if let Some(config) = &mut loaded.config {
        config.source = Some(source.clone());
    }
    loaded
}

/// From a text; what it names is relative to the working directory.
pub(super) fn load_text(text: &str, environment: Environment<'_>) -> Loaded {
    let mut input = Input::default();
    input.text(PathBuf::from("configuration"), text.to_owned());
    finish(input, Path::new(""), &[], environment)
}

/// The fingerprint of files as they are now; equal to [`Loaded::digest`] while nothing has changed.
pub(crate) fn digest_now(files: &[PathBuf], directories: &[PathBuf]) -> u64 {
    let listed = directories
        .iter()
        .flat_map(|directory| files::list(directory).unwrap_or_default());
    let mut paths: Vec<PathBuf> = files.iter().cloned().chain(listed).collect();
    paths.sort();
    paths.dedup();
    digest(
        paths
            .iter()
            .map(|path| (path, files::read(path, MAX_CONFIG_FILE).ok())),
    )
}

fn digest<'p>(contents: impl Iterator<Item = (&'p PathBuf, Option<String>)>) -> u64 {
    let mut hasher = DefaultHasher::new();
    contents.for_each(|content| content.hash(&mut hasher));
    hasher.finish()
}

/// What has been read so far.
#[derive(Default)]
struct Input {
    files: Files,
    bodies: Vec<(Body, u32)>,
    problems: Vec<Problem>,
    read: Vec<(PathBuf, Option<String>)>,
    directories: Vec<PathBuf>,
}

impl Input {
    fn directory(&mut self, path: &Path, dynamic: bool) {
        self.directories.push(path.to_owned());
        let fault = |code, message: String| Problem::new(code, message).file(path.to_owned());
        match files::list(path) {
            Ok(paths) if paths.is_empty() && !dynamic => {
                self.problems.push(fault(
                    Code::Empty,
                    "the directory has no *.hcl file".to_owned(),
                ));
            }
            Ok(paths) => paths.iter().for_each(|path| self.file(path)),
            Err(error) => self.problems.push(fault(
                Code::Unreadable,
                format!("the directory cannot be read: {}", error.kind()),
            )),
        }
    }

    fn file(&mut self, path: &Path) {
        // A file of the configuration's own directory may also be one of the provider's.
        if self.read.iter().any(|(read, _)| read == path) {
            return;
        }
        let content = files::read(path, MAX_CONFIG_FILE);
        self.read
            .push((path.to_owned(), content.as_ref().ok().cloned()));
        match content {
            Ok(text) => self.text(path.to_owned(), text),
            Err(error) => {
                let problem = Problem::new(
                    Code::Unreadable,
                    format!("the file cannot be read: {error}"),
                );
                self.problems.push(problem.file(path.to_owned()));
            }
        }
    }

    fn text(&mut self, path: PathBuf, text: String) {
        if text.trim().is_empty() {
            let message = format!("{} is empty", path.display());
            self.problems
                .push(Problem::new(Code::Empty, message).file(path));
            return;
        }
        let file = self.files.add(path, text);
        match syntax::parse(&self.files, file) {
            Ok(body) => self.bodies.push((body, file)),
            Err(problems) => self.problems.extend(problems),
        }
    }
}

fn finish(
    mut input: Input,
    base: &Path,
    vars: &[(String, String)],
    environment: Environment<'_>,
) -> Loaded {
    let bodies = std::mem::take(&mut input.bodies);
    let mut evaluator = Evaluator::new(
        std::mem::take(&mut input.files),
        base.to_owned(),
        environment,
    );
    for (body, file) in &bodies {
        evaluator.declare(body, *file);
    }
    let mut root = Map::default();
    // After an error of syntax half of the file is missing: what would be said about the rest is noise.
    let mut complete = input.problems.is_empty();
    if complete {
        evaluator.override_variables(vars);
        evaluator.read_variables();
        for (body, file) in &bodies {
            evaluator.walk_file(&mut root, body, *file, Scope::Whole);
        }
    }
    let providers = providers(&mut root, &evaluator.files);
    let (providers, found, secrets) = providers;
    let mut problems = found;
    if let Some(directory) = &providers.file.directory {
        input.files = std::mem::take(&mut evaluator.files);
        let directory = base.join(directory);
        let before = input.problems.len();
        match directory.exists() {
            true => input.directory(&directory, true),
            false => {
                input.directories.push(directory.clone());
                input.problems.push(no_directory(&root, &directory));
            }
        }
        complete &= input.problems[before..]
            .iter()
            .all(|problem| problem.code == Code::NoDirectory);
        evaluator.files = std::mem::take(&mut input.files);
        for (body, file) in &input.bodies {
            evaluator.walk_file(&mut root, body, *file, Scope::Dynamic);
        }
    }
    let files = std::mem::take(&mut evaluator.files);
    problems.append(&mut evaluator.problems);
    problems.append(&mut input.problems);
    let context = Context {
        files: &files,
        secrets: RefCell::new(secrets),
    };
    let mut config = None;
    let mut unusable = Vec::new();
    let mut unknown = Diagnostics::default();
    if complete {
        let mut sections = Sections {
            context: &context,
            problems,
        };
        let mut read = sections.config(&mut root, providers);
        problems = sections.problems;
        resolve(&mut read, base);
        let whole = !problems.iter().any(is_error);
        let tree = Tree {
            root: &root,
            files: &files,
        };
        let found = read.problems(Some(tree), whole, true);
        problems.extend(found.all);
        unusable = found.unusable;
        read.note_unknown_types(tree, &context.secrets.borrow());
        read.unknown_types(&[], &mut unknown);
        config = Some(read).filter(|_| !problems.iter().any(is_error));
    }
    let secrets = context.secrets.into_inner();
    let mut tried = Tried::default();
    if let Some(config) = &mut config {
        let tree = Tree {
            root: &root,
            files: &files,
        };
        config.note_test_places(tree, &secrets);
        tried = Tried::new(config, tree, &secrets);
    }
    input.read.append(&mut evaluator.read);
    limit(&mut problems);
    limit(&mut unusable);
    Loaded {
        config,
        unknown,
        tried,
        unusable: Diagnostics::new(unusable, &files, &secrets),
        diagnostics: Diagnostics::new(problems, &files, &secrets),
        digest: read_digest(&mut input.read),
        files: input.read.into_iter().map(|(path, _)| path).collect(),
        directories: input.directories,
    }
}

fn is_error(problem: &Problem) -> bool {
    problem.code.severity() == super::code::Severity::Error
}

fn read_digest(read: &mut Vec<(PathBuf, Option<String>)>) -> u64 {
    read.sort();
    read.dedup_by(|a, b| a.0 == b.0);
    digest(read.iter().map(|(path, content)| (path, content.clone())))
}

/// The providers, their problems, and the places of secrets among them.
fn providers(root: &mut Map, files: &Files) -> (ProvidersConfig, Vec<Problem>, Vec<At>) {
    let context = Context {
        files,
        secrets: RefCell::default(),
    };
    let mut sections = Sections {
        context: &context,
        problems: Vec::new(),
    };
    let providers = sections.section(root, "providers").unwrap_or_default();
    let problems = sections.problems;
    (providers, problems, context.secrets.into_inner())
}

/// It is a warning, for the directory may be filled later; the provider waits for it.
fn no_directory(root: &Map, directory: &Path) -> Problem {
    let problem = Problem::new(
        Code::NoDirectory,
        format!("the directory `{}` does not exist yet", directory.display()),
    );
    let place =
        ["providers", "file", "directory"]
            .iter()
            .try_fold((root, None), |(map, _), key| {
                let node = &map.entries.get(*key)?.value;
                match &node.kind {
                    super::tree::Kind::Map(inner) => Some((inner, Some(node.at))),
                    _ => Some((map, Some(node.at))),
                }
            });
    match place {
        Some((_, Some(at))) => problem.at(at),
        _ => problem,
    }
}

/// Files are named relative to the configuration file, wherever the gateway was started.
fn resolve(config: &mut GatewayConfig, base: &Path) {
    if let Some(directory) = &mut config.providers.file.directory {
        *directory = base.join(&*directory);
    }
    let log = config.access_log.as_mut();
    // An empty name is told of.
    if let Some(file) = log
        .and_then(|log| log.file.as_mut())
        .filter(|file| !file.as_os_str().is_empty())
    {
        *file = base.join(&*file);
    }
    for middleware in config.middlewares.values_mut() {
        for file in middleware.settings_mut().files() {
            *file = base.join(&*file);
        }
    }
    let entrypoints = config.entrypoints.values_mut();
    let routers = config.routers.values_mut();
    let files = entrypoints
        .filter_map(|each| each.tls.as_mut())
        .flat_map(TlsConfig::files_mut)
        .chain(routers.filter_map(|router| router.tls.as_mut()?.ca_file_mut()));
    for file in files {
        *file = base.join(&*file);
    }
    let services = config.services.values_mut();
    let balancers = services.filter_map(|service| service.load_balancer.as_mut());
    let collector = config.tracing.as_mut().map(|tracing| &mut *tracing.tls);
    for tls in balancers.map(|balancer| &mut balancer.tls).chain(collector) {
        for file in [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file]
            .into_iter()
            .flatten()
        {
            *file = base.join(&*file);
        }
    }
}

fn limit(problems: &mut Vec<Problem>) {
    if problems.len() > MAX_PROBLEMS {
        // Errors first: a flood of warnings must not push them out.
        problems.sort_by_key(|problem| problem.code.severity());
        let more = problems.len() - MAX_PROBLEMS;
        problems.truncate(MAX_PROBLEMS);
        let code = match is_error(&problems[0]) {
            true => Code::TooMany,
            false => return,
        };
        problems.push(Problem::new(code, format!("and {more} more problems")));
    }
}
