dtab { static = "" }
namer "consul" {}
namer "io.l5d.fs" {}
namer "io.l5d.fs" { root_dir = "/nonexistent/folder" }
namer "static" {
  services = {
    redis = ["127.0.0.1:6379", "127.0.0.1", "127.0.0.1:6379 * heavy", ":6379"]
    sock  = ["/run/redis sock"]
    web   = "127.0.0.1:80"
    "a/b" = []
    redis = []
  }
}
namer "static" {
  prefix = "/#/other"
  include_tag = true
}
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
}
