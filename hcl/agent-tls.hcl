# argosy agent -config hcl/agent-tls.hcl
#
# TLS on both sides of Postgres: certificates by server name towards clients, and servers that are known by their SPIFFE id
# or by their key. Endpoints hear by the PROXY protocol who the client is.

name = "postgres"

admin {
  address = "127.0.0.1:9990"
}

consul {}

dtab {
  namespace = "postgres"
  static    = "/svc => /#/io.l5d.consul/dc1"
}

namer "io.l5d.consul" {}

# Clients ask in Postgres' way whether there is TLS, and are answered that there is.
listener "orders" {
  address     = "127.0.0.1:5432"
  destination = "/svc/orders"

  tls {
    # For all clients whose server name no other certificate has.
    cert_file = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/default.pem"
    key_file  = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/default-key.pem"

    certificate {
      cert_file = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/db.pem" # for *.db.example.com
      key_file  = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/db-key.pem"
    }

    # Clients may show a certificate that one of these has signed; one that is shown has to be good.
    client_ca_file = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/clients-ca.pem"
    client_auth    = "optional"

    # And its SPIFFE id must be one of these.
    client_spiffe_ids = ["spiffe://example.org/shop", "spiffe://example.org/ns/prod/*"]

    min_version = "1.3"
    alpn        = ["postgresql"]
  }
}

listener "billing" {
  address     = "127.0.0.1:5433"
  destination = "/svc/billing"
}

# Asked for TLS as Postgres wants it, and known by a SPIFFE id: the certificate needs no DNS name.
client "/svc/orders" {
  proxy_protocol = "v2"

  tls {
    starttls  = "postgres"
    spiffe_id = "spiffe://example.org/orders"
    ca_file   = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/internal-ca.pem"
    cert_file = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/default.pem"
    key_file  = "${env("NOMAD_SECRETS_DIR", "/etc/argosy")}/default-key.pem"
  }
}

# Known by its public key, whoever has signed its certificate.
client "/svc/billing" {
  retries      = 1
  retry_budget = 0.1

  tls {
    starttls = "postgres"
    pins     = ["47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
  }
}
