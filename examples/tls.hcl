# HTTPS with HTTP/1.1 and HTTP/2, and whoever comes without TLS is sent there.
#
#   openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
#     -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout examples/key.pem -out examples/cert.pem
#   a3s-gateway --config examples/tls.hcl
#   curl --cacert examples/cert.pem https://localhost:8443/
#   curl -i http://localhost:8080/some/page

entrypoints "web" {
  address     = "127.0.0.1:8080"
  middlewares = ["to-https"]
}

entrypoints "websecure" {
  address     = "127.0.0.1:8443"
  middlewares = ["secure"]

  tls {
    cert_file   = "cert.pem" # named relative to this file: first our certificate, then who signed it
    key_file    = "key.pem"  # readable for us alone: chmod 600
    min_version = "1.2"
  }
}

middlewares "to-https" {
  type      = "redirect"
  scheme    = "https"
  port      = 8443 # that of `websecure`
  permanent = true
}

middlewares "secure" {
  type     = "headers"
  security = true # Strict-Transport-Security and the like
}

routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "hello"
}

services "hello" {
  respond {
    body = "Hello over TLS\n"
  }
}
