dtab { static = "" }
consul {}
connect {
  source      = "servers"
  address     = ":8502"
  server_name = "server.dc1.consul"
  insecure    = true
}
listener "a" {
  address     = "127.0.0.1:7001"
  destination = "/svc/a"
  tls { connect = "Web" }
}
listener "b" {
  address     = "127.0.0.1:7002"
  destination = "/svc/b"
  tls { connect = "web%2Fx" }
}
listener "c" {
  address     = "127.0.0.1:7003"
  destination = "/svc/c"
  tls { connect = "" }
}
listener "d" {
  address     = "127.0.0.1:7004"
  destination = "/svc/d"
  tls { connect = "a123456789b123456789c123456789d123456789e123456789f123456789abcd" }
}
listener "e" {
  address     = "127.0.0.1:7005"
  destination = "/svc/e"
  tls {
    connect           = "edge"
    client_spiffe_ids = ["spiffe://example.org/web"]
  }
}
client "/svc/a" {
  tls { connect = "web.internal" }
}
client "/svc/b" {
  tls { connect = "-web" }
}
client "/svc/c" {
  tls { connect = "../web" }
}
