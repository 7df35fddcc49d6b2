//! The tests of a configuration: each request is rehearsed, by the configuration as it would begin.

use crate::config::{
    Block, Diagnostics, GatewayConfig, NO_ROUTER, TestConfig, TestFailure, TestPart,
};
use crate::dispatch::explain::{Effect, Explainer, Explanation, Question, Unaskable};
use http::HeaderName;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// In place of a value that the request may have brought with it.
const CONCEALED: &str =
    "found another, which is not shown, for the request has values from outside this file";

/// In place of a value that the configuration may have brought from elsewhere.
const CONCEALED_ANSWER: &str =
    "found another, which is not shown, for what answers has values from outside this file";

/// In place of a rule.
const CONCEALED_RULE: &str = "its rule is not shown, for it has values from outside this file";

/// In place of what is wrong with a request.
const UNASKABLE: &str =
    "it cannot be asked; why is not shown, for the request has values from outside this file";

/// How long all tests of a configuration may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the tests of `config`, and tells of those that fail. It may be called from within a runtime or without one.
pub(super) fn prove(config: &GatewayConfig, explainer: &Explainer) -> Diagnostics {
    if config.tests.is_empty() {
        return Diagnostics::default();
    }
    // A thread of its own: this may be one of a runtime, where nobody may wait for another runtime.
    let failures = std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(run(config, explainer)),
                Err(error) => not_run(config, &format!("it cannot be run: {error}")),
            }
        };
        match scope.spawn(run).join() {
            Ok(failures) => failures,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    config.failed_tests(&failures)
}

fn not_run<'c>(config: &'c GatewayConfig, why: &str) -> Vec<TestFailure<'c>> {
    let tests = config.tests.keys();
    let failure = |test: &'c String| at_url(test, why.to_owned());
    tests.map(failure).collect()
}

fn at_url(test: &str, message: String) -> TestFailure<'_> {
    TestFailure {
        test,
        part: TestPart::Url,
        message,
        why: None,
    }
}

async fn run<'c>(config: &'c GatewayConfig, explainer: &Explainer) -> Vec<TestFailure<'c>> {
    let deadline = Instant::now() + PATIENCE;
    let mut failures = Vec::new();
    for (name, test) in &config.tests {
        let told = async {
            let question = question(test)?;
            explainer.explain(&question).await
        };
        match timeout_at(deadline, told).await {
            Ok(Ok(told)) => judge(name, test, &told, config, &mut failures),
            Ok(Err(_)) if config.conceals(name) => {
                failures.push(at_url(name, UNASKABLE.to_owned()))
            }
            Ok(Err(error)) => failures.push(at_url(name, error.to_string())),
            Err(_) => {
                let message = "it is not run: the tests take longer than 10 seconds".to_owned();
                failures.push(at_url(name, message));
            }
        }
    }
    failures
}

fn question(test: &TestConfig) -> Result<Question, Unaskable> {
    let request = &test.request;
    let mut question = Question::new(&request.method, &request.url)?.client_ip(request.client_ip);
    for (name, value) in &request.headers {
        question = question.header(&format!("{name}: {}", value.expose()))?;
    }
    if let Some(name) = &request.sni {
        question = question.server_name(name);
    }
    if let Some(name) = &request.entrypoint {
        question = question.entrypoint(name);
    }
    let alpn = request.alpn.iter();
    Ok(alpn.fold(question, |question, protocol| question.alpn(protocol)))
}

fn judge<'c>(
    name: &'c str,
    test: &'c TestConfig,
    told: &Explanation,
    config: &GatewayConfig,
    failures: &mut Vec<TestFailure<'c>>,
) {
    let mut fail = |part, message, why| {
        failures.push(TestFailure {
            test: name,
            part,
            message,
            why,
        });
    };
    let expect = &test.expect;
    let name_of = |name: &Option<String>| match name {
        Some(name) => format!("`{name}`"),
        None => "none".to_owned(),
    };
    if let Some(router) = &expect.router {
        let no_router = router == NO_ROUTER && !config.routers.contains_key(NO_ROUTER);
        let wanted = (!no_router).then(|| router.clone());
        if told.router != wanted {
            let (wanted, came) = (name_of(&wanted), name_of(&told.router));
            let message = format!("expected the router {wanted}, found {came}");
            let why = match config.conceals_block(Block::Router(router)) {
                true => Some(CONCEALED_RULE.to_owned()),
                false => why_not(router, told, config, config.conceals(name)),
            };
            fail(TestPart::Expect("router"), message, why);
        }
    }
    if let Some(service) = &expect.service
        && told.service.as_ref() != Some(service)
    {
        let message = format!(
            "expected the service `{service}`, found {}",
            name_of(&told.service)
        );
        let why = told.router.as_ref();
        let why = why.map(|router| format!("the router is `{router}`"));
        fail(TestPart::Expect("service"), message, why);
    }
    let answer = told.answer.as_ref();
    if let Some(status) = expect.status {
        let came = answer.and_then(|answer| answer.status);
        let by_server = answer.is_some_and(|answer| answer.by == "server");
        if came != Some(status) {
            let came = match came {
                Some(came) => came.to_string(),
                None if by_server => "that of a server, which is not asked".to_owned(),
                None => "none".to_owned(),
            };
            let message = format!("expected the status {status}, found {came}");
            fail(TestPart::Expect("status"), message, who_answers(told));
        }
    }
    for (header, wanted) in &expect.headers {
        let part = TestPart::Header(header);
        let Ok(header) = header.parse::<HeaderName>() else {
            fail(part, format!("`{header}` is not a header"), None);
            continue;
        };
        let values = told.answer_headers.get_all(&header);
        let is_as_wanted = match wanted.is_empty() {
            true => values.iter().next().is_none(),
            false => values
                .iter()
                .any(|value| value.as_bytes() == wanted.as_bytes()),
        };
        if !is_as_wanted {
            let fields = answer.iter().flat_map(|answer| &answer.headers);
            let fields = fields.filter(|field| field.name == header.as_str());
            let came: Vec<_> = fields.map(|field| format!("`{}`", field.value)).collect();
            let came = match &*came {
                [_, ..] if config.conceals(name) => CONCEALED.to_owned(),
                [_, ..] if is_concealed(told, config) => CONCEALED_ANSWER.to_owned(),
                [] => "it is not there".to_owned(),
                came => format!("found {}", came.join(", ")),
            };
            let message = match wanted.is_empty() {
                true => format!("expected no header `{header}`, {came}"),
                false => format!("expected another header `{header}`: {came}"),
            };
            fail(part, message, who_answers(told));
        }
    }
}

/// Whether an answer may have values from outside the file.
fn is_concealed(told: &Explanation, config: &GatewayConfig) -> bool {
    let mut layers = told.layers.iter();
    let mut service = told.service.iter();
    layers.any(|layer| config.conceals_block(Block::Middleware(&layer.name)))
        || service.any(|name| config.conceals_block(Block::Service(name)))
}

/// Why this router was not the one.
fn why_not(
    router: &str,
    told: &Explanation,
    config: &GatewayConfig,
    conceals: bool,
) -> Option<String> {
    let of = |name: &str| told.candidates.iter().find(|each| each.router == name);
    let rule_of = |name: &str| {
        let judged = of(name)?;
        Some(match config.conceals_block(Block::Router(name)) {
            true => CONCEALED_RULE.to_owned(),
            false => format!("its rule is {}", judged.rule),
        })
    };
    match (of(router), &told.router, &told.answer) {
        (Some(judged), _, _) if !judged.matches => {
            let failed = judged.failed.first()?;
            if conceals {
                return Some(format!("of `{router}` {} fails", failed.matcher));
            }
            Some(format!(
                "of `{router}` {} fails: {}",
                failed.matcher, failed.found
            ))
        }
        (Some(judged), Some(found), _) => {
            let first = of(found)?;
            Some(format!(
                "`{router}` matches as well, with the priority {}; `{found}` has {}",
                judged.priority, first.priority
            ))
        }
        (None, Some(found), _) => rule_of(found),
        (None, None, Some(answer)) => {
            let notes = told.notes.iter().filter(|_| !conceals);
            let reasons: Vec<_> = answer.reason.iter().chain(notes).cloned().collect();
            (!reasons.is_empty()).then(|| reasons.join("; "))
        }
        _ => Some(format!(
            "`{router}` is not at the entrypoint `{}`",
            told.entrypoint
        )),
    }
}

/// Who gives the answer.
fn who_answers(told: &Explanation) -> Option<String> {
    let answers = |layer: &&crate::dispatch::explain::Layer| layer.effect == Effect::Answers;
    let layer = told.layers.iter().find(answers);
    let reason = told.answer.as_ref()?.reason.as_ref();
    let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
    Some(match (layer, &told.service) {
        (Some(layer), _) => format!("`{}` ({}) answers{reason}", layer.name, layer.kind),
        (None, Some(service)) => format!("the service `{service}` answers{reason}"),
        (None, None) => format!("no router is found{reason}"),
    })
}
