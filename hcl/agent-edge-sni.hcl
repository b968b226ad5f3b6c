# argosy agent -config hcl/agent-edge-sni.hcl
#
# The edge: connections from outside are sent on by the server name that TLS clients ask for. One listener passes TLS
# through untouched, the other ends it here with a certificate of its own.

name = "edge"

log {
  format = "json"
}

admin {
  address = "127.0.0.1:${env("NOMAD_PORT_admin", "9990")}"
}

# Where the Consul agent is and its token come from CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN and so on, unless they are
# written here.
consul {}

dtab {
  namespace = "edge"
  consul {
    path_prefix = "namerd/dtabs"
  }
  # db.example.com is the service db, wherever the shared table sends services. What stands here wins over that table,
  # in this agent only.
  local = <<-EOT
    /sni/db.example.com  => /svc/db ;
    /sni/www.example.com => /svc/web ;
  EOT
}

namer "io.l5d.consul" {}

# Who came, where to, and how it ended: a line of JSON for each connection.
access_log {
  file = "stdout"
}

# TLS goes through as it is, so that the service itself shows the certificate for db.example.com.
listener "passthrough" {
  address = env("NOMAD_ADDR_tls", "0.0.0.0:8443")

  sni {
    prefix  = "/sni"
    timeout = "3s" # for the client's first message
    # Clients that send no server name are refused, unless there is a default:
    # default = "/svc/web"
  }

  max_connections = 10000
}

# TLS ends here; the certificate is read again when the files change.
listener "terminated" {
  address     = env("NOMAD_ADDR_redis", "0.0.0.0:6380")
  destination = "/svc/redis"

  tls {
    cert_file = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/edge.pem"
    key_file  = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/edge-key.pem"
    # Ask clients for a certificate that one of these has signed:
    client_ca_file = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/clients-ca.pem"
  }
}

# The services that /svc/db leads to speak TLS under a name of their own, and want a certificate from us.
client "/svc/db" {
  connect_timeout = "2s"

  tls {
    server_name = "db.internal"
    ca_file     = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/internal-ca.pem"
    cert_file   = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/edge.pem"
    key_file    = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/edge-key.pem"
  }
}
