# argosy agent -config hcl/agent-edge-limits.hcl
#
# The edge with its guards up: behind a load balancer that tells the clients' addresses by PROXY headers, with limits for
# each client; Postgres and the web on one port; and a Unix socket for programs on the same machine.

name = "edge"

log {
  format = "json"
}

admin {
  address = "127.0.0.1:${env("NOMAD_PORT_admin", "9990")}"
}

consul {}

dtab {
  namespace = "edge"
  consul {
    path_prefix = "namerd/dtabs"
  }
}

namer "io.l5d.consul" {}

listener "public" {
  address = env("NOMAD_ADDR_public", "0.0.0.0:8443")

  # Only the load balancer is believed, and it checks our health by plain connections, too.
  proxy_protocol {
    from     = ["10.0.0.0/8", "fd00::/8"]
    optional = true
  }

  max_connections = 20000
  limits {
    connections_per_source = 50
    rate                   = 500 # new connections per second
    burst                  = 1000
    at_limit               = "queue"
    queue                  = 1000
    queue_timeout          = "2s"
  }

  # TLS goes through as it is. Postgres clients ask for TLS in their own way, and are answered.
  sni {
    alpn    = { postgresql = "/svc/db", h2 = "/svc/web" }
    default = "/svc/web"
  }

  handshake_timeout  = "5s"
  first_byte_timeout = "10s"
  idle_timeout       = "1h"

  socket {
    keepalive    = "30s"
    user_timeout = "1m"
  }
}

# For programs on this machine, which file permissions tell apart.
listener "local" {
  address     = "/run/argosy/db.sock"
  socket_mode = "0660"
  destination = "/svc/db"
}
