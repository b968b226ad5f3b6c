# argosy agent -config hcl/agent-minimal.hcl
#
# The least an agent needs: a place to accept connections, the name they go to, a table that says what names stand for,
# and a catalog that the table ends in. Everything that is not written here has a default: see docs/configuration.md.

# The table is kept in Consul, and watched there: a change moves new connections at once. Write it with
#
#   argosy namerd -config hcl/namerd-consul.hcl &
#   argosy dtab create default -dtab '/svc => /#/io.l5d.consul/.local'
dtab {
  consul {}
}

# Names below /#/io.l5d.consul/<datacenter>/ are services in Consul; .local is the datacenter of the Consul agent.
namer "io.l5d.consul" {}

# Inside a Nomad job the address comes from the port block with the label redis.
listener "redis" {
  address     = env("NOMAD_ADDR_redis", "127.0.0.1:7474")
  destination = "/svc/redis"
}
