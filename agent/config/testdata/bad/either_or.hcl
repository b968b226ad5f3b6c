dtab {
  static = "/svc => /#/static"
  consul {}
}
listener "both" {
  address     = "127.0.0.1:7474"
  destination = "/svc/redis"
  sni {}
}
listener "none" {
  address = "127.0.0.1:7475"
}
listener "none" {
  destination = "/svc/redis"
  tls {}
}
listener "tls" {
  address     = "127.0.0.1:7477"
  destination = "/svc/redis"
  tls {
    connect        = "web"
    client_ca_file = "testdata/ca.pem"
  }
}
client "/svc/redis" {
  tls {
    connect     = "web"
    server_name = "redis.example"
  }
}
client "/svc/redis" {
  tls {}
}
register {}
