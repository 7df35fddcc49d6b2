# gRPC services behind one port: for programs as they are, for browsers by way of gRPC-Web.
#
#   a3s-gateway --config examples/grpc.hcl
#   grpcurl -plaintext 127.0.0.1:8080 list
#
# gRPC is HTTP/2: servers are h2c:// (without TLS) or https://. A path is /package.Service/Method.

entrypoints "web" {
  address = "127.0.0.1:8080"
}

routers "grpc" {
  rule        = "HeaderRegexp(`Content-Type`, `^application/grpc`) || Method(`OPTIONS`)"
  service     = "backends"
  middlewares = ["pages", "web", "fair"]
}

# Pages of this origin may call. Preflights are answered here.
middlewares "pages" {
  type            = "cors"
  allowed_origins = ["https://app.example.com"]
  allowed_headers = ["content-type", "x-grpc-web", "x-user-agent", "grpc-timeout", "authorization"]
  exposed_headers = ["grpc-status", "grpc-message", "grpc-status-details-bin"]
}

# What browsers say becomes gRPC; gRPC passes as it is.
middlewares "web" {
  type = "grpc-web"
}

middlewares "fair" {
  type = "in-flight"
  max  = 1000 # calls and streams at a time; UNAVAILABLE past it
}

services "backends" {
  load_balancer {
    strategy = "p2c-ewma" # the one that is likely to answer sooner
    servers = [
      { url = "h2c://127.0.0.1:50051" },
      { url = "h2c://127.0.0.1:50052" },
    ]
    timeouts {
      response = "30s" # until an answer begins
      idle     = "10m" # a stream may be silent for so long
    }
    health_check {
      kind     = "tcp" # or "grpc", where servers have grpc.health.v1.Health
      interval = "2s"
    }
  }
}
