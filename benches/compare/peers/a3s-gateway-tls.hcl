entrypoints "web" {
  address = "@LISTEN@"

  tls {
    cert_file = "@CERT@"
    key_file  = "@KEY@"
  }
}

@ROUTERS@

services "backend" {
  load_balancer {
    servers = [{ url = "http://@UPSTREAM@" }]
  }
}
