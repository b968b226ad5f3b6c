mesh {
  adress = "127.0.0.1"
  tls {
    client_ca_file = "missing.pem"
    client_auth    = "optional"
  }
}

store "memory" {}
