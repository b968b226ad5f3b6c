# The demo, as `argosy demo` runs it: nothing is hidden. Web servers cache in Redis through a fleet of proxies, the table
# says which of two Redis clusters that is, and the load says how many proxies there are.
#
#     argosy dev demo.hcl

dtab = <<EOT
/cluster   => /#/io.l5d.fs ;
/svc       => /cluster ;
/svc/redis => /cluster/redis1 ;
EOT

service "redis1" {
  command = ["${argosy}", "demo-child", "redis", "-name", "redis1", "-address", "127.0.0.1:${port.redis}"]
  ports   = ["redis"]
}

service "redis2" {
  command = ["${argosy}", "demo-child", "redis", "-name", "redis2", "-address", "127.0.0.1:${port.redis}"]
  ports   = ["redis"]
}

service "web" {
  command = [
    "${argosy}", "demo-child", "web", "-address", "127.0.0.1:${port.http}", "-redis", "${proxy.fleet}",
    "-tls-cert", "${tls.cert_file}", "-tls-key", "${tls.key_file}", "-tls-ca", "${tls.ca_file}",
  ]
  ports = ["http"]
  count = 3
}

proxy "fleet" {
  destination   = "/svc/redis"
  mtls          = true
  min           = 2
  max           = 6
  target_value  = 8 # connections for each proxy
  cooldown_up   = "1s"
  cooldown_down = "4s"
  drain_timeout = "15s"
}
