admin {
  address         = "0.0.0.0:9990"
  socket_owner    = "root"
  open            = ["metrics", "/metrics", "/metrics", "/v1/*"]
  hosts           = ["a.example", "b.example:80", ""]
  max_connections = 0
  tls {
    client_auth = "required"
    clients     = ["ops"]
  }
}
dtab { static = "" }
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
}
