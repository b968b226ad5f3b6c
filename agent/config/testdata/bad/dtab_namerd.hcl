dtab {
  namerd {
    ca_file   = "/nonexistent/ca.pem"
    cert_file = "/nonexistent/cert.pem"
    key_file  = "/nonexistent/key.pem"
  }
}
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
}
