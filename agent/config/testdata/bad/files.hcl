dtab { file = "testdata/bad/table.dtab" }
consul {
  token      = "very-secret"
  token_file = "/nonexistent/token"
  ca_file    = "/nonexistent/ca.pem"
}
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
  tls {
    cert_file = "testdata/bad/table.dtab"
    key_file  = "testdata/bad/table.dtab"
  }
}
listener "b" {
  address     = "127.0.0.1:7475"
  destination = "/svc/a"
  tls { cert_file = "/nonexistent/cert.pem" }
}
client "/svc/a" {
  tls {
    server_name = "a.example"
    ca_file     = "testdata/bad/table.dtab"
  }
}
