admin {
  address    = ":9990"
  token_file = "testdata/tokens"
  insecure   = true
}
dtab { static = "" }
listener "a" {
  address     = "/run/argosy.sock"
  destination = "/svc/a"
}
