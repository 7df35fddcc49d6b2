# WebSockets: to servers of your own, and to a hub of channels that needs no server.
#
#   a3s-gateway --config examples/websocket.hcl
#   pip install websockets
#   python3 -m websockets ws://127.0.0.1:8080/app/      # a server's
#   python3 -m websockets ws://127.0.0.1:8080/channels?key=demo-key-of-this-file
#
# At the hub say `_sub:news`, and `news:hello` from another client.

entrypoints "web" {
  address = "127.0.0.1:8080"
}

# Nothing has to be said: a request that asks for a WebSocket becomes one where its server agrees.
routers "app" {
  rule    = "PathPrefix(`/app/`)"
  service = "app"
}

services "app" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]
  }
}

routers "channels" {
  rule        = "Path(`/channels`)"
  service     = "hub"
  middlewares = ["keys", "calm"] # they judge the handshake
}

middlewares "keys" {
  type  = "api-key"
  query = "key" # a browser cannot set a header on a WebSocket
  hide  = true
  # printf %s demo-key-of-this-file | sha256sum
  hashed_keys = ["dd7540495bda0ea7f6e6847ab3687bbdb97dfaa0b33b1a1531ca1bac5adfc168"]
}

middlewares "calm" {
  type  = "rate-limit"
  rate  = 5 # handshakes a second, for each client
  burst = 20
}

services "hub" {
  websocket_hub {
    max_channels   = 16
    channel_buffer = 64 # a reader that is behind by more is dropped from the channel, and told
    max_message    = "16KiB"
  }
}
