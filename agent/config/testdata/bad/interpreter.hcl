dtab { static = "/svc => /a" }

interpreter "linkerd" {
  address       = "http://127.0.0.1:4180"
  namespace     = "a b"
  local         = "/svc => a"
  ca_file       = "interpreter.hcl"
  mode          = "push"
  poll_interval = "1ms"
  max_streams   = 0
}

namer "static" {
  services = { a = ["127.0.0.1:1"] }
}

consul {}

listener "redis" {
  address     = "127.0.0.1:7474"
  destination = "/svc/redis"
}

client "/svc" {
  tls { connect = "edge" }
}
