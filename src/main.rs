//! The command.

use a3s_gateway::Gateway;
use a3s_gateway::config::{
    Address, EntrypointConfig, GatewayConfig, LoadBalancerConfig, RouterConfig, ServerConfig,
};
use a3s_gateway::rule::{Protocol, Rule};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    tracing_subscriber::fmt().init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("rt");
    runtime.block_on(async {
        let mut config = GatewayConfig::default();
        let address: Address = std::env::args()
            .nth(1)
            .expect("addr")
            .parse()
            .expect("addr");
        config
            .entrypoints
            .insert("web".into(), EntrypointConfig::new(address));
        config.routers.insert(
            "api".into(),
            RouterConfig::new(
                Rule::parse("Host(`bench.test`) && PathPrefix(`/`)", Protocol::Http).expect("rule"),
                "backend",
            ),
        );
        config.services.insert(
            "backend".into(),
            LoadBalancerConfig::new([ServerConfig::new(
                std::env::args().nth(2).expect("url").parse().expect("url"),
            )])
            .into(),
        );
        let gateway = Gateway::new(config).expect("new");
        gateway.start().await.expect("start");
        gateway.wait_for_shutdown().await;
    });
}
