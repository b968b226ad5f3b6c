http {
  tls {
    cert_file   = "testdata/bad/files.hcl"
    client_auth = "maybe"
  }
}
store "files" { dir = "testdata/bad/files.hcl" }
