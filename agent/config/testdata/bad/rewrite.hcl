dtab { static = "" }
namer "io.l5d.rewrite" {
  pattern = "/{service}/x y"
  name    = "/svc/{service}"
}
namer "io.l5d.rewrite" {
  prefix  = "/#/two"
  pattern = "/{service}"
  name    = "/svc/{servce}"
}
namer "io.l5d.rewrite" {
  prefix  = "/#/three"
  pattern = ["/a"]
}
namer "io.l5d.rewrite" {
  prefix  = "/#/four"
  pattern = "/a"
}
namer "rewrite" {}
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
}
