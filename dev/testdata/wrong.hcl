name = "wrong"
dtab = "/svc => "

service "a" {
  command = ["x", "${port.http}", "${proxy.nobody}", "${tls.certificate}"]
  ports   = ["HTTP"]
}

service "a" {
  command = "x"
  min     = 1
}

service "b" {
  command = ["${port.http}"]
  ports   = ["http", "http"]
  env     = { PORT = "${port.http}" }
  min     = 3
  max     = 2
  target_value = 5
}

proxy "p" {
  address     = "127.0.0.1:7474"
  destination = "svc"
  count       = 1000
}

proxy "q" {
  address     = "0.0.0.0:7474"
  destination = "/svc/q"
  drain_timeout = "soon"
  colour = "red"
}
