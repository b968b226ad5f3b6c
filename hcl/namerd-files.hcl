# argosy namerd -config hcl/namerd-files.hcl
#
# Tables in a folder, one file for each namespace: edit them by hand, keep them in git, or let configuration management
# write them. What is changed through the API is written there as well.

http {
  address = "127.0.0.1:${env("NOMAD_PORT_http", "4180")}"

  # For other machines: HTTPS, and a token or a client's certificate for whoever may change tables.
  # tls {
  #   cert_file      = "namerd.pem"
  #   key_file       = "namerd-key.pem"
  #   client_ca_file = "clients-ca.pem"
  #   client_auth    = "optional"
  # }
  # token "ci" {
  #   file   = "ci.token"
  #   access = "write"
  # }
  # token "agents" { file = "agents.token" }
}

history {
  max_changes = 100
}

store "files" {
  # default.dtab is the table of the namespace default.
  dir = env("NAMERD_TABLES", "tables")
}
