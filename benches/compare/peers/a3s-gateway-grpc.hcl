entrypoints "web" {
  address = "@LISTEN@"
}

@ROUTERS@

services "backend" {
  load_balancer {
    servers = [{ url = "h2c://@UPSTREAM@" }]
  }
}
