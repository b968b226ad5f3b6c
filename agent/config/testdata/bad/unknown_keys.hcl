nmae = "proxy"
dtab {
  static = "/svc => /#/static"
  consul_prefix = "x"
}
listner "redis" {
  address = "127.0.0.1:7474"
}
listener "redis" {
  adress      = "127.0.0.1:7474"
  address     = "127.0.0.1:7474"
  destination = "/svc/redis"
  tls = {}
  sni_prefix = "/sni"
  on_deny    = "close"
}
namer "io.l5d.fs" {
  rootdir = "/tmp"
}
log {
  level "debug" {}
}
