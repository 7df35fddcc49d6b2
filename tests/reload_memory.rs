//! What a reload replaces is freed.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use a3s_gateway::config::GatewayConfig;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use support::{Server, TestGateway, eventually, within};

/// Counts what is allocated and not yet freed: what is resident says little of it, because an allocator gives
/// memory back when it sees fit.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats
        .bytes_allocated
        .saturating_sub(stats.bytes_deallocated)
}

/// `Host` and `PathPrefix` each.
const ROUTERS: u64 = 500;

fn configuration(server: &Server, generation: u64) -> GatewayConfig {
    let mut text = format!(
        "entrypoints \"web\" {{ address = \"127.0.0.1:0\" }}\n\
         services \"generation\" {{\n respond {{ body = \"{generation}\" }}\n}}\n\
         routers \"generation\" {{\n rule = \"Path(`/generation`)\"\n service = \"generation\"\n}}\n\
         services \"one\" {{\n load_balancer {{ servers = [{{ url = \"{server}\" }}] }}\n}}\n"
    );
    for number in 0..ROUTERS {
        text += &format!(
            "routers \"r{number}\" {{\n rule = \"Host(`h{number}.example`) && PathPrefix(`/p{}`)\"\n service = \"one\"\n}}\n",
            // A tenth of them differ from one generation to the next.
            if number % 10 == 0 { generation } else { 0 },
        );
    }
    GatewayConfig::from_hcl(&text).unwrap()
}

/// As many reloads as the admin API remembers.
const REMEMBERED: u64 = 50;

#[tokio::test]
async fn what_a_reload_replaces_is_freed() {
    let server = Server::start().await;
    let gateway = TestGateway::start(configuration(&server, 0), false).await;
    let mut probe = gateway.h1().await;
    let mut early = usize::MAX;
    for generation in 1..=REMEMBERED + 30 {
        let reload = gateway.reload(configuration(&server, generation));
        within("the reload", reload).await.unwrap();
        let answer = probe.get("/generation").await;
        assert_eq!(answer.text(), generation.to_string());
        // What was freed is freed a little later: this is the least of a few.
        if (REMEMBERED..REMEMBERED + 5).contains(&generation) {
            early = early.min(allocated());
        }
    }
    // A tenth of the routers is new each time: all that is kept of them would be more than twice as much by now.
    let most = early + early / 10;
    eventually("the old routers are freed", || allocated() <= most).await;
}
