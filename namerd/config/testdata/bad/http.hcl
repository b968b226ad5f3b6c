http {
  address = "0.0.0.0:4180"
  tls {
    client_auth = "optional"
  }
  token "ci" {
    file   = "testdata/bad/http.hcl"
    secret = "both"
  }
  token "ci" { access = "admin" }
  token "a b" { secret = "" }
  token "c" { secret = "two words" }
  token "d" { secret = "same-secret" }
  token "e" { secret = "same-secret" }
  token "f" { file = "testdata/none" }
}
history {
  max_changes = 0
  max_bytes   = "many"
}
store "files" {}
