entrypoints "stream" {
  address  = "@LISTEN@"
  protocol = "tcp"
}

routers "all" {
  rule        = "HostSNI(`*`)"
  entrypoints = ["stream"]
  service     = "backend"
}

services "backend" {
  load_balancer {
    servers = [{ url = "tcp://@UPSTREAM@" }]
  }
}
