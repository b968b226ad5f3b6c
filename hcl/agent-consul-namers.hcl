# argosy agent -config hcl/agent-consul-namers.hcl
#
# What the Consul namer can do beside finding healthy instances: canaries by their tag, a database that keeps to the
# nearest instances, service-resolvers, and a start while Consul is down.

dtab {
  consul {}
  local = <<-EOT
    /svc      => 0.95 * /#/stable/.local & 0.05 * /#/canary/.local ;
    /svc/db   => /#/near/.local/db ;
    /svc/auth => /#/mesh/.local/auth ;
  EOT
}

# Nomad gives canaries the tags in canary_tags, here "canary", until they are promoted.
namer "io.l5d.consul" {
  prefix       = "/#/stable"
  filter       = "canary not in Service.Tags"
  snapshot_dir = "${env("NOMAD_TASK_DIR", ".")}/snapshots" # the last good sets, for a start without Consul
}

namer "io.l5d.consul" {
  prefix = "/#/canary"
  filter = "canary in Service.Tags"
}

# The two instances nearest to the Consul agent's node, and the next ones when these fail. One with a warning is used
# with the weight that it is registered with for that.
namer "io.l5d.consul" {
  prefix          = "/#/near"
  near            = "_agent"
  near_count      = 2
  health_statuses = ["passing", "warning"]
}

# The service-resolver in Consul applies: redirect, default subset and failover.
namer "io.l5d.consul" {
  prefix   = "/#/mesh"
  resolver = true
}

listener "web" {
  address     = env("NOMAD_ADDR_web", "127.0.0.1:7480")
  destination = "/svc/web"
}

listener "db" {
  address     = env("NOMAD_ADDR_db", "127.0.0.1:7481")
  destination = "/svc/db"
}
