entrypoints "web" {
  address = "@LISTEN@"
}

@ROUTERS@

services "backend" {
  load_balancer {
    servers = [{ url = "http://@UPSTREAM@" }]
  }
}
