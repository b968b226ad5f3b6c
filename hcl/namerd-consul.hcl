# argosy namerd -config hcl/namerd-consul.hcl
#
# Tables in Consul's key-value store, in the layout of Namerd 1.x: both can serve the same keys. Any number of these can
# run side by side. Agents with dtab { consul {} } read the keys themselves and need none of them to be up.

log {
  level  = "info"
  format = "text"
}

# For this machine only: on other addresses it wants tls and tokens, as in hcl/namerd-files.hcl.
http {
  address   = "127.0.0.1:${env("NOMAD_PORT_http", "4180")}"
  read_only = env("NAMERD_READ_ONLY", "false")
}

consul {
  address = env("CONSUL_HTTP_ADDR", "127.0.0.1:8500")
  # The token needs key:write for namerd/dtabs/, where the history is as well. A file is read again when it changes:
  # token_file = "${env("NOMAD_SECRETS_DIR")}/consul_token"
}

store "consul" {
  path_prefix = "namerd/dtabs"
}

# For those who let namerd bind names: Linkerd and linkerd-tcp, or agents with an interpreter block. Agents with namers of
# their own do not ask.
namer "io.l5d.consul" {}
