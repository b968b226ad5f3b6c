# What a scheduler may do in Consul: find the agents for `discovery`. It takes no lock there and keeps nothing there. A
# scheduler without `discovery` needs no token for Consul.
#
#   consul acl policy create -name argosy-scheduler -rules @acl/scheduler.hcl

# Each of the services in `discovery`, by its name: here those of jobs/.
service "proxy" {
  policy = "read"
}

service "entry" {
  policy = "read"
}

# Without this, Consul answers as if no service had instances, and not that anything is denied.
node_prefix "" {
  policy = "read"
}
