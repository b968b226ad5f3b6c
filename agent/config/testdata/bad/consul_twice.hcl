consul {}
consul {}
dtab {
  static = "/svc => /#/io.l5d.consul/.local"
}
namer "io.l5d.consul" {}
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
  tls {
    connect = "a"
  }
}
