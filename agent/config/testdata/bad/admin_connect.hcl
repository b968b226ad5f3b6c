admin {
  address = ":9990"
  tls {
    connect = "edge"
  }
}
dtab { static = "" }
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
}
