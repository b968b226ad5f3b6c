dtab { static = "" }
namer "nomad" {
  nomad {
    address   = "nomad.example:4646"
    cert_file = "testdata/bad/table.dtab"
    ca_file   = "testdata/bad/table.dtab"
    namespace = "default"
  }
}
namer "nomad" {
  prefix     = "/nomad"
  hold_empty = "2h"
  filter     = 3
}
namer "nomad" {
  nomad { region = "eu" }
  nomad { region = "us" }
}
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
}
