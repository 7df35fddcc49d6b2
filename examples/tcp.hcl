# Whole TCP connections, whatever is said on them: two replicas of a database behind one port, and servers with TLS of
# their own behind another, chosen by the name that a client asks for.
#
#   a3s-gateway --config examples/tcp.hcl
#   psql -h 127.0.0.1 -p 5432
#   openssl s_client -connect 127.0.0.1:8443 -servername one.localhost
#
# A replica that cannot be reached is passed by, and one that the probe finds down gets nothing until it is up again.

entrypoints "db" {
  address         = "127.0.0.1:5432"
  protocol        = "tcp"
  max_connections = 500 # one more is reset
  tcp_allowed_ips = ["127.0.0.0/8", "10.0.0.0/8"]
}

routers "db" {
  rule        = "HostSNI(`*`)" # every connection
  service     = "replicas"
  entrypoints = ["db"] # on TCP a router names where it listens
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

entrypoints "names" {
  address  = "127.0.0.1:8443"
  protocol = "tcp"
}

routers "one" {
  rule        = "HostSNI(`one.localhost`)"
  service     = "one"
  entrypoints = ["names"]
  tls {
    passthrough = true # the server shows its own certificate; nothing is decrypted here
  }
}

routers "others" {
  rule        = "HostSNI(`*.localhost`)" # the longer rule is asked first: that of `one`
  service     = "others"
  entrypoints = ["names"]
  tls {
    passthrough = true
  }
}

services "one" {
  load_balancer {
    servers = [{ url = "tcp://127.0.0.1:18443" }]
  }
}

services "others" {
  load_balancer {
    servers = [{ url = "tcp://127.0.0.1:18444" }]
  }
}
