# argosy agent -config hcl/agent-nomad.hcl
#
# An agent in a cluster of Nomad without Consul: the services are those that jobs register with
#
#   service {
#     provider = "nomad"
#     name     = "redis"
#     port     = "redis"
#   }
#
# Nomad registers an instance when its allocation runs; whether its checks pass is not known here. See docs/namers.md.

# One connection of ten goes to the instances with the tag canary, while there are any.
dtab {
  static = <<-EOT
    /svc       => /#/nomad/default ;
    /svc/redis => 0.9 * /#/nomad/default/redis & 0.1 * /canary/redis ;
    /canary    => /#/nomad-tagged/default/canary | /#/nomad/default ;
  EOT
}

# In a task of a Nomad job, the task API needs no address and no certificates:
#
#   nomad {
#     address    = "unix://${env("NOMAD_SECRETS_DIR")}/api.sock"
#     token_file = "${env("NOMAD_SECRETS_DIR")}/nomad_token"
#   }
namer "nomad" {
  nomad {
    address = env("NOMAD_ADDR", "http://127.0.0.1:4646")
  }
}

# The same services once more, in names /<namespace>/<tag>/<service>.
namer "nomad" {
  prefix      = "/#/nomad-tagged"
  include_tag = true
  nomad {
    address = env("NOMAD_ADDR", "http://127.0.0.1:4646")
  }
}

listener "redis" {
  address     = "127.0.0.1:7474"
  destination = "/svc/redis"
}
