dtab { static = "" }
listener "redis" {
  address         = "127.0.0.1:7474"
  destination     = "/svc/redis"
  connect_timeout = 10
  idle_timeout    = "5 minutes"
}
client "/svc/redis" {
  connect_timeout = "fast"
}
client "/svc/web" {
  connect_timeout = "0s"
  retries         = 1000
}
drain {
  timeout     = "2d"
  propagation = "-3s"
}
