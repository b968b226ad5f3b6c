dtab { static = "" }
dtab { static = "" }
listener "a" {
  address     = "127.0.0.1:7474"
  address     = "127.0.0.1:7475"
  destination = "/svc/a"
}
