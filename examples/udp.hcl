# Datagrams: DNS for a network, shared by two resolvers.
#
#   a3s-gateway --config examples/udp.hcl
#   dig @127.0.0.1 -p 5353 example.com
#
# The datagrams of a client go to one resolver, and answers come back from the address that was asked. A resolver that
# is not there is found by the first datagram that it refuses; the next ones go to the other.

entrypoints "dns" {
  address                  = "127.0.0.1:5353"
  protocol                 = "udp"
  udp_session_timeout_secs = 10    # idle for so long, a client is forgotten
  udp_max_sessions         = 20000 # one more takes the place of the one that was idle for longest
  tcp_allowed_ips          = ["127.0.0.0/8", "10.0.0.0/8"]
}

routers "dns" {
  rule        = "HostSNI(`*`)" # every datagram
  service     = "resolvers"
  entrypoints = ["dns"]
}

services "resolvers" {
  load_balancer {
    strategy = "random"
    servers = [
      { url = "udp://127.0.0.1:15353" },
      { url = "udp://127.0.0.1:15354" },
    ]
    outlier {
      consecutive_errors = 1 # leave it alone for a while at once
    }
  }
}
