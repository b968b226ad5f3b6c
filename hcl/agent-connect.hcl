# argosy agent -config hcl/agent-connect.hcl
#
# One agent of a fleet that Nomad runs and scales: registered in Consul, with its identity from Consul Connect. Only
# Connect services that an intention allows get in, and it dials Connect services as itself.

name = "proxy"

log {
  level  = env("LOG_LEVEL", "info")
  format = "json"
}

# Consul's health check comes here. For a Prometheus on another machine listen on NOMAD_ADDR_admin, with
# open = ["/health", "/ready", "/metrics"] and a token_file for the rest.
admin {
  address = "127.0.0.1:${env("NOMAD_PORT_admin", "9990")}"
}

consul {
  address = env("CONSUL_HTTP_ADDR", "127.0.0.1:8500")
  token   = env("CONSUL_HTTP_TOKEN", "") # argosy validate -acl prints the policy that it needs
  timeout = "10s"
}

# Where Consul's servers can be reached, have them sign the certificates: then the keys never leave this process.
#
# connect {
#   source      = "servers"
#   address     = "consul.example:8503"
#   ca_file     = "/etc/argosy/consul-ca.pem"
#   server_name = "server.dc1.consul"
# }

dtab {
  namespace = env("DTAB_NAMESPACE", "default")
  consul {}
}

# Connect-capable endpoints only, native or behind a sidecar.
namer "io.l5d.consul" {
  connect    = true
  hold_empty = "15s" # when suddenly no instance is healthy, the last good ones are kept for so long
}

# The port is chosen by Nomad and found through the catalog.
listener "redis" {
  address     = env("NOMAD_ADDR_redis", "127.0.0.1:7474")
  destination = "/svc/redis"

  tls {
    connect    = "proxy"
    on_deny    = "drain" # open connections of a client that an intention denies go on for a while, and then are cut
    deny_grace = "10s"
  }

  register {
    service = "proxy"
  }
}

# For everything that names end in.
client "/" {
  connect_timeout = "1s"
  retries         = 2

  tls {
    connect = "proxy"
  }
}

register {
  tags             = ["argosy"]
  meta             = { team = "platform" }
  registration     = "auto" # Nomad's where the job has a service block
  ttl              = "30s"
  deregister_after = "10m"
}

# Nomad's kill_timeout has to be longer than both together.
drain {
  propagation = "3s"
  timeout     = "30s"
}
