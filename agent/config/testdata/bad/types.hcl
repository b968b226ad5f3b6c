name = true
log {
  level  = "loud"
  format = 3
}
dtab { static = ["/svc => /#/static"] }
listener "redis" {
  address         = 7474
  reuse_port      = "yes"
  destination     = "/svc/redis"
  max_connections = "many"
}
listener "web" {
  address         = "127.0.0.1:7475"
  destination     = null
  max_connections = -1
  idle_timeout    = true
}
listener "web2" {
  address         = "127.0.0.1:7476"
  destination     = "/svc/web2"
  max_connections = 1.5
}
register {
  tags = "redis"
  meta = ["a"]
}
