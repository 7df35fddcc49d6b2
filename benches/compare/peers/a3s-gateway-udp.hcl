entrypoints "datagrams" {
  address  = "@LISTEN@"
  protocol = "udp"
}

routers "all" {
  rule        = "HostSNI(`*`)"
  entrypoints = ["datagrams"]
  service     = "backend"
}

services "backend" {
  load_balancer {
    servers = [{ url = "udp://@UPSTREAM@" }]
  }
}
