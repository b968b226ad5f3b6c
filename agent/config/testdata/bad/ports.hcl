admin { address = ":7474" }
dtab { static = "" }
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
}
listener "b" {
  address     = "localhost:7475"
  reuse_port  = true
  destination = "/svc/b"
}
listener "c" {
  address     = "127.0.0.1:7475"
  reuse_port  = true
  destination = "/svc/c"
}
listener "d" {
  address     = "127.0.0.1:0"
  reuse_port  = true
  destination = "/svc/d"
}
listener "e" {
  address     = "127.0.0.1:9990"
  destination = "/svc/e"
}
