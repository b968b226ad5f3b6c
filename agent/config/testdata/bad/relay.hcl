dtab { static = "" }
relay { engine = "epoll" }
handover { socket = "edge.sock" }
listener "unix" {
  address     = "/run/x.sock"
  destination = "/svc/x"
  reuse_port  = true
  socket_mode = "rw"
  limits {
    burst    = 5
    at_limit = "wait"
  }
  proxy_protocol { from = ["10.0.0.0/33"] }
  register {}
}
listener "tcp" {
  address      = "127.0.0.1:1"
  socket_owner = "me"
  sni { alpn = { h2 = "web" } }
  proxy_protocol {}
  tls {
    ocsp_file = "config.go"
    certificate {}
  }
}
client "/svc" {
  proxy_protocol = "v3"
  ejection {
    time      = "1m"
    max_time  = "1s"
    max_share = 2
  }
  tls {
    spiffe_id   = "https://example.org"
    pins        = ["abc"]
    min_version = "1.1"
  }
}
