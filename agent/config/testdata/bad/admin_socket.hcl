admin {
  address     = "unix:///run/argosy.sock"
  socket_mode = "rw"
  tls {
    connect        = "edge"
    client_ca_file = "testdata/bad/admin.hcl"
  }
}
dtab { static = "" }
listener "a" {
  address     = "/run/argosy.sock"
  destination = "/svc/a"
}
