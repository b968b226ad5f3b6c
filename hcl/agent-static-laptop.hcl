# argosy agent -config hcl/agent-static-laptop.hcl
#
# An agent that needs nothing else on the machine: the table and the endpoints are written here. A change of this file
# is applied by SIGHUP, without closing connections.

name = "laptop"

log {
  level = "debug" # every connection, with what became of it
}

# curl -s http://127.0.0.1:9990/v1/routes shows what names stand for at the moment.
admin {
  address = "127.0.0.1:9990"
}

dtab {
  # Nine connections of ten go to redis1, one to redis2. Later entries win over earlier ones; names that no entry is
  # written for are looked up as static services.
  static = <<-EOT
    /svc       => /#/static ;
    /svc/redis => 9 * /svc/redis1 & 1 * /svc/redis2 ;
  EOT
}

namer "static" {
  services = {
    redis1 = ["127.0.0.1:6379"]
    redis2 = ["127.0.0.1:6380", "127.0.0.1:6381 * 0.5"] # half as many connections as its sibling
  }
}

listener "redis" {
  address         = "127.0.0.1:7474"
  destination     = "/svc/redis"
  max_connections = 1000
  idle_timeout    = "1h"
}

client "/svc/redis" {
  connect_timeout = "500ms"
  retries         = 2
}
