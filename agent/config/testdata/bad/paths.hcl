dtab {
  static = <<EOT
/svc => /#/io.l5d.consul/dc1;
/svc/redis = /#/static/redis1;
EOT
  local = "/svc => /host; /host => "
}
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "svc/redis"
}
listener "b" {
  address     = "127.0.0.1:7475"
  destination = "/svc/redis/"
}
listener "c" {
  address = "127.0.0.1:7476"
  sni {
    prefix  = "/sni host"
    default = "/"
  }
}
client "svc/redis" {}
client "/svc/**" {}
namer "static" {
  prefix   = "/static"
  services = {}
}
