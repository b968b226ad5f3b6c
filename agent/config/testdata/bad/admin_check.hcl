admin {
  address = "/run/argosy.sock"
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
