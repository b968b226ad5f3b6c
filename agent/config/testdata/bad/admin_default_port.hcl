dtab { static = "" }
listener "e" {
  address     = "127.0.0.1:9990"
  destination = "/svc/e"
}
