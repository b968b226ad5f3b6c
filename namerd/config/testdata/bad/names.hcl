store "memory" {}
namer "consul" {}
namer "io.l5d.fs" {
  prefix = "/io.l5d.fs"
}
namer "static" {
  services = { redis = ["127.0.0.1"] }
}
namer "static" {
  services = {}
}
binding {
  on_empty            = "fail"
  alternative_timeout = "2"
  max_watches         = 0
  strict              = true
}
