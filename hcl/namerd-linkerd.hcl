# argosy namerd -config hcl/namerd-linkerd.hcl
#
# In the place of a Namerd, for Linkerd 1.x: the Dtabs in Consul stay where they are, and linkerd.yml has
#
#   interpreter:
#     kind: io.l5d.mesh
#     dst: /$/inet/127.0.0.1/4321
#     root: /default

http {
  address = "127.0.0.1:${env("NOMAD_PORT_http", "4180")}"
}

mesh {
  address = env("NOMAD_ADDR_mesh", "127.0.0.1:4321")

  # Linkerd on other machines: with certificates, for it and for namerd.
  # tls {
  #   cert_file      = "namerd.pem"
  #   key_file       = "namerd-key.pem"
  #   client_ca_file = "clients-ca.pem"
  # }
}

consul {
  address = env("CONSUL_HTTP_ADDR", "127.0.0.1:8500")
}

store "consul" {
  path_prefix = "namerd/dtabs"
}

# What is configured as namers in Namerd. Names are bound here, so Linkerd needs none.
namer "io.l5d.consul" {}

# As Namerd binds: an alternative without endpoints is used all the same, and one that is not known yet is waited for.
binding {
  on_empty            = "stop"
  alternative_timeout = "0s"
}
