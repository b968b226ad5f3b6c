listener "a" {
  address = "127.0.0.1:7474"
