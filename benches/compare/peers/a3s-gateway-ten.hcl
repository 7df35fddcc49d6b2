entrypoints "web" {
  address = "@LISTEN@"
}

# Ten policies, as nginx's configuration of this name has them.
routers "api" {
  rule    = "Host(`@HOST@`) && PathPrefix(`/api/`)"
  service = "backend"
  middlewares = [
    "office", "known", "rate", "in-flight", "small", "cors", "browsers", "id", "strip", "again",
  ]
}

middlewares "office" {
  type        = "ip-allow"
  allowed_ips = ["127.0.0.0/8"]
}

middlewares "known" {
  type        = "api-key"
  hashed_keys = ["6eb03028c73217455098a6f43da3a551b0099331897faf82eea75c39f9d3e07c"]
}

middlewares "rate" {
  type    = "rate-limit"
  rate    = 1000000
  headers = false
}

middlewares "in-flight" {
  type = "in-flight"
  max  = 10000
}

middlewares "small" {
  type           = "body-limit"
  max_body_bytes = "1MiB"
}

middlewares "cors" {
  type            = "cors"
  allowed_origins = ["https://app.test"]
}

middlewares "browsers" {
  type     = "headers"
  security = true
}

middlewares "id" {
  type = "request-id"
}

middlewares "strip" {
  type     = "strip-prefix"
  prefixes = ["/api"]
}

middlewares "again" {
  type = "retry"
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://@UPSTREAM@" }]
  }
}
