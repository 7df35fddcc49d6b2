# A gateway in front of a web application with an API of its own.
#
#   a3s-gateway validate --config examples/gateway.hcl
#   a3s-gateway --config examples/gateway.hcl
#
# It follows this file: save a change, and it takes effect without a lost request. A change that is not valid is
# refused with the reason in the log, and what runs goes on.

# Values that are used more than once, or that differ between machines:
#   a3s-gateway --config gateway.hcl --var domain=shop.example.com
variables {
  domain = "shop.localhost"
  blue   = "http://127.0.0.1:8001"
  green  = "http://127.0.0.1:8002"
}

# Requests under way when the gateway is told to end have this long.
shutdown_timeout_secs = 20

# Where it listens. HTTP/1.1 and HTTP/2 (prior knowledge) on the same port.
entrypoints "web" {
  address         = "127.0.0.1:8080"
  max_connections = 20000

  # A load balancer on this network tells us who the client is.
  trusted_proxies = ["10.0.0.0/8"]

  # What happens to every request that comes in here, and to its answer.
  middlewares = ["ids", "browsers", "small"]

  http {
    header_timeout   = "5s"
    max_header_bytes = "16KiB"
  }
}

# For programs on this machine.
entrypoints "local" {
  address = "127.0.0.1:8081"
}

# Which request goes where. The longest rule wins, unless `priority` says otherwise.
routers "shop" {
  rule        = "Host(`${var.domain}`)"
  service     = "shop"
  entrypoints = ["web"]
  middlewares = ["smaller-answers"]
}

routers "api" {
  rule        = "Host(`${var.domain}`) && PathPrefix(`/api/`) && !Method(`TRACE`)"
  service     = "api"
  entrypoints = ["web"]
  middlewares = ["fair", "strip-api", "again"] # in this order
}

# Testers see the next version.
routers "preview" {
  rule     = "Host(`${var.domain}`) && Header(`X-Preview`, `yes`)"
  service  = "preview"
  priority = 1000
}

routers "closed" {
  rule        = "Host(`${var.domain}`) && (PathPrefix(`/.git`) || Path(`/server-status`))"
  service     = "not-here"
  entrypoints = ["web"]
  priority    = 2000
}

# Health and metrics on the local port.
routers "state" {
  rule        = "PathPrefix(`/api/gateway/`)"
  service     = "admin@internal"
  entrypoints = ["local"]
}

# What happens on the way. docs/middlewares.md has every type.
middlewares "ids" {
  type = "request-id"
}

middlewares "browsers" {
  type                    = "headers"
  security                = true
  remove_response_headers = ["X-Powered-By"]
}

middlewares "small" {
  type           = "body-limit"
  max_body_bytes = "10MiB"
}

middlewares "smaller-answers" {
  type = "compress"
}

# Each client 20 requests a second, and 40 at once.
middlewares "fair" {
  type  = "rate-limit"
  rate  = 20
  burst = 40
}

middlewares "strip-api" {
  type     = "strip-prefix"
  prefixes = ["/api"]
}

# Another server where one fails, for requests that may be sent twice.
middlewares "again" {
  type        = "retry"
  max_retries = 1
}

# Who answers.
services "shop" {
  load_balancer {
    strategy = "weighted"
    servers = [
      { url = var.blue, weight = 3 },
      { url = var.green },
    ]
  }
}

services "api" {
  load_balancer {
    strategy = "least-connections"

    servers { url = var.blue }
    servers { url = var.green }

    timeouts {
      connect  = "1s"
      response = "10s"
    }
  }
}

services "preview" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8003" }]

    # To servers that speak TLS (https://): whom to believe, and who we are.
    # tls {
    #   ca_file   = "certs/internal-ca.pem"
    #   cert_file = "certs/gateway.pem"
    #   key_file  = "certs/gateway-key.pem"
    # }
  }
}

# An answer without a server.
services "not-here" {
  respond {
    status  = 404
    body    = "not here\n"
    headers = { "content-type" = "text/plain" }
  }
}

# The admin API. It is on loopback; anywhere else it should have a token:
#   token = "${ADMIN_TOKEN}"
admin {
  address = "127.0.0.1:9090"
}
