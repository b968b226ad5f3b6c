admin {
  address = "10.0.0.1:9990"
  open    = ["/health"]
}
dtab { static = "" }
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
  register {}
}
register {
  check = "http"
}
