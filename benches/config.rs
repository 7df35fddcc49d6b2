//! What it costs to load and check a large configuration.

use a3s_gateway::config::{Source, load};
use criterion::{Criterion, criterion_group, criterion_main};
use std::fmt::Write;

/// `count` routers, and a service for each.
fn text(count: usize) -> String {
    let mut text = "entrypoints \"web\" {\n  address = \":80\"\n}\n".to_owned();
    for i in 0..count {
        let written = write!(
            text,
            "routers \"r{i}\" {{\n  rule    = \"Host(`h{i}.example.com`) && PathPrefix(`/v1`)\"\n  service = \"s{i}\"\n}}\nservices \"s{i}\" {{\n  load_balancer {{\n    servers = [{{ url = \"http://10.0.0.1:{}\" }}]\n  }}\n}}\n",
            1 + i % 65_535
        );
        written.expect("a string takes everything");
    }
    text
}

fn bench(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory for the file");
    let path = directory.path().join("gateway.hcl");
    std::fs::write(&path, text(10_000)).expect("the directory is there");
    let source = Source::new(path);
    // What of it is the parser's: the rest is ours.
    let text = text(10_000);
    criterion.bench_function("parse 10,000 routers and services", |bencher| {
        bencher.iter(|| hcl_edit::parser::parse_body(&text));
    });
    criterion.bench_function("load 10,000 routers and services", |bencher| {
        bencher.iter(|| {
            let loaded = load(&source);
            assert!(loaded.config.is_some(), "{}", loaded.diagnostics);
            loaded
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = bench
}
criterion_main!(benches);
