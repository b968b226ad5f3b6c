# What an agent may do that acts as the service "web" in Consul Connect, and is registered under that name.
#
#   consul acl policy create -name argosy-agent -rules @acl/agent.hcl
#   consul acl token create -description "argosy agents of web" -policy-name argosy-agent
#
# `argosy validate -acl FILE` prints the policy that a configuration needs, with the names of its services.

# The certificate of web, its intentions, and its place in the catalog. One rule for each name in a `connect` key or a
# `register` block. Whoever has it may also change the service-resolver of web.
service "web" {
  policy = "write"
}

# The instances of other services, for `io.l5d.consul`.
service_prefix "" {
  policy = "read"
}

# Without this, Consul answers as if no service had instances, and not that anything is denied.
node_prefix "" {
  policy = "read"
}

# The table, where it is in Consul's KV store; a namerd in between needs no rule here. A narrower rule for one namespace
# is enough: key "namerd/dtabs/default".
key_prefix "namerd/dtabs/" {
  policy = "read"
}
