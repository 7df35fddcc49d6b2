entrypoints "web" {
  address = "@LISTEN@"
}

@ROUTERS@

services "backend" {
  load_balancer {
    servers = [{ url = "http://@UPSTREAM@" }]
  }
}

access_log {
  file = "@DIR@/access.log"
}

tracing {
  otlp_endpoint = "http://@UPSTREAM@"
  protocol      = "http"
  sample        = 0.01
}
