# Whole TCP connections, whatever is said on them: two replicas of a database behind one port.
#
#   a3s-gateway --config examples/tcp.hcl
#   psql -h 127.0.0.1 -p 5432
#
# A replica that cannot be reached is passed by, and one that the probe finds down gets nothing until it is up again.

entrypoints "db" {
  address         = "127.0.0.1:5432"
  protocol        = "tcp"
  max_connections = 500                        # one more is reset
  tcp_allowed_ips = ["127.0.0.0/8", "10.0.0.0/8"]
}

routers "db" {
  rule        = "HostSNI(`*`)"                 # every connection
  service     = "replicas"
  entrypoints = ["db"]                         # on TCP a router names where it listens
  middlewares = ["fair"]
}

middlewares "fair" {
  type                   = "tcp-filter"
  max_connections_per_ip = 100
}

services "replicas" {
  load_balancer {
    strategy = "least-connections"
    servers = [
      { url = "tcp://127.0.0.1:15432" },
      { url = "tcp://127.0.0.1:15433" },
    ]
    health_check {
      kind     = "tcp"
      interval = "2s"
    }
    timeouts {
      connect = "2s"
    }
  }
}
