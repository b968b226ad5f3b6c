dtab { static = "" }
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
  tls { connect = "web" }
  register {
    port = 0
    service = "has spaces"
  }
}
client "/svc/a" {
  tls { connect = "" }
}
register {
  address = "10.0.0.1:7474"
  meta = { version = "1" }
  deregister_after = "1s"
  registration = "nomad"
  check = "http"
  ttl = "5s"
  tcp_check = true
}
