# The fleet: agents that accept Connect clients and route them by the Dtab in Consul's KV store.
#
#     nomad job run -var='datacenters=["dc1"]' -var=artifact=https://example.com/argosy jobs/proxy.nomad.hcl
#
# Nomad registers the agents in Consul, and takes them out before it tells them to end, also when a node is lost:
#
#     consul catalog nodes -service=proxy
#
# With -var=registration=self they register themselves, with their version and routes in the catalog.
#
# What the scheduler has scaled, `nomad job run` sets back to count; with -preserve-counts it does not.

variable "datacenters" {
  description = "Datacenters the fleet may run in."
  type        = list(string)
  default     = ["*"]
}

variable "namespace" {
  description = "Nomad namespace of the job."
  type        = string
  default     = "default"
}

variable "count" {
  description = "How many agents to start with. The scheduler changes it between min and max."
  type        = number
  default     = 2
}

variable "driver" {
  description = "Task driver: raw_exec, exec or docker. With docker, the host's network is used."
  type        = string
  default     = "raw_exec"
  validation {
    condition     = contains(["raw_exec", "exec", "docker"], var.driver)
    error_message = "The driver is raw_exec, exec or docker."
  }
}

variable "binary" {
  description = "Where argosy is on the nodes: a path, or a name to look up in PATH. Not used with an artifact or docker."
  type        = string
  default     = "argosy"
}

variable "artifact" {
  description = "URL of the argosy binary, or of an archive with it, that Nomad downloads for every task. The file in it is named argosy. Empty: none."
  type        = string
  default     = ""
}

variable "checksum" {
  description = "Checksum of the artifact, as sha256:HEX. Empty: not checked."
  type        = string
  default     = ""
}

variable "image" {
  description = "Container image, for the docker driver."
  type        = string
  default     = "argosy:latest"
}

variable "service" {
  description = "Name of the fleet in Consul: of its service, its Connect identity and its intentions."
  type        = string
  default     = "proxy"
}

variable "destination" {
  description = "Name that is looked up for every connection. The Dtab says where it leads."
  type        = string
  default     = "/svc/redis"
}

variable "dtab_namespace" {
  description = "Which Dtab is followed."
  type        = string
  default     = "default"
}

variable "connect" {
  description = "Whether clients must come with mTLS through Consul Connect. Without, the port speaks plain TCP."
  type        = bool
  default     = true
}

variable "config_key" {
  description = "Consul KV key with a whole agent configuration that replaces the one below. Changes of it are reloaded without a restart. Empty: the one below."
  type        = string
  default     = ""
}

variable "consul_addr" {
  description = "Consul's HTTP API, as each node's agents reach it."
  type        = string
  default     = "127.0.0.1:8500"
}

variable "registration" {
  description = "Who registers the agents in Consul: nomad, by the service block below, or self."
  type        = string
  default     = "nomad"
  validation {
    condition     = contains(["nomad", "self"], var.registration)
    error_message = "The registration is nomad or self."
  }
}

variable "check_interval" {
  description = "How often Consul asks an agent whether it can serve, where Nomad registers it. A new agent gets connections after so long at the latest. Keep propagation longer."
  type        = string
  default     = "1s"
}

variable "consul_identity" {
  description = "Whether to log in to Consul with the workload's identity. Its role must have service:write for the fleet's name and key:read for namerd/. For a Consul with ACLs."
  type        = bool
  default     = false
}

variable "log_level" {
  description = "trace, debug, info, warn or error."
  type        = string
  default     = "info"
}

variable "propagation" {
  description = "How long a leaving agent still accepts when it has left the catalog, until everybody has seen it. Takes the place of a shutdown_delay."
  type        = string
  default     = "3s"
}

variable "drain" {
  description = "How long open connections may then go on. With propagation it must stay below kill_timeout."
  type        = string
  default     = "20s"
}

variable "kill_timeout" {
  description = "When Nomad kills an agent that has not ended. Nomad's clients cap it at their max_kill_timeout, 30s unless set."
  type        = string
  default     = "30s"
}

variable "admin_token" {
  description = "What callers of the admin endpoint show for more than health and metrics, as argosy routes does: openssl rand -hex 32 makes one. Empty: nobody gets more."
  type        = string
  default     = ""
}

variable "cpu" {
  description = "MHz for each agent."
  type        = number
  default     = 100
}

variable "memory" {
  description = "MB for each agent."
  type        = number
  default     = 128
}

variable "autoscale" {
  description = "Whether the job carries a scaling block for the scheduler. Without, a policy in the scheduler's own file may scale it."
  type        = bool
  default     = true
}

variable "min" {
  description = "Smallest count, for autoscale."
  type        = number
  default     = 1
}

variable "max" {
  description = "Largest count, for autoscale."
  type        = number
  default     = 10
}

variable "target_value" {
  description = "Open connections that one agent should carry, for autoscale."
  type        = number
  default     = 100
}

variable "cooldown_up" {
  description = "Time between two steps up, for autoscale."
  type        = string
  default     = "10s"
}

variable "cooldown_down" {
  description = "Time between any step and the next one down, for autoscale."
  type        = string
  default     = "1m"
}

locals {
  command = var.artifact == "" ? var.binary : "local/argosy"
  tls     = var.connect ? "tls {\n  connect = \"${var.service}\"\n}" : "# plain TCP"
  admin   = var.admin_token == "" ? "" : "token_file = format(\"%s/admin.tokens\", env(\"NOMAD_SECRETS_DIR\"))"
  config  = <<-EOT
    name = "${var.service}"

    log {
      level = "${var.log_level}"
    }

    # Health checks and Prometheus come here; for more, callers need the token.
    admin {
      address = env("NOMAD_ADDR_admin")
      open    = ["/health", "/ready", "/metrics"]
      ${local.admin}
    }

    consul {}

    dtab {
      namespace = "${var.dtab_namespace}"
      consul {}
    }

    namer "io.l5d.consul" {}

    listener "in" {
      address     = env("NOMAD_ADDR_in")
      destination = "${var.destination}"
      ${indent(2, local.tls)}
      register {}
    }

    register {
      registration = "${var.registration == "nomad" ? "auto" : "self"}"
    }

    drain {
      propagation = "${var.propagation}"
      timeout     = "${var.drain}"
    }
  EOT
}

job "proxy" {
  id          = var.service
  name        = var.service
  namespace   = var.namespace
  datacenters = var.datacenters
  type        = "service"

  group "proxy" {
    count = var.count

    # No deployments. Every change of a count would start one, and while it runs, which is at least min_healthy_time,
    # Nomad refuses the next change: the fleet would be blind to its load for 10 seconds and more after each step.
    update {
      max_parallel = 0
    }

    dynamic "scaling" {
      for_each = var.autoscale ? [1] : []
      content {
        enabled = true
        min     = var.min
        max     = var.max
        policy {
          scheduler     = "argosy"
          metric        = "argosy_connections_active"
          target_value  = var.target_value
          cooldown_up   = var.cooldown_up
          cooldown_down = var.cooldown_down
          max_age       = "10s"
          match {
            service = var.service
          }
        }
      }
    }

    network {
      port "in" {}
      port "admin" {}
    }

    # An agent that is told to drain fails the check, and so leaves the catalog.
    dynamic "service" {
      for_each = var.registration == "nomad" ? [1] : []
      content {
        name = var.service
        port = "in"
        task = "agent"
        meta {
          admin = "${NOMAD_ADDR_admin}"
        }
        dynamic "connect" {
          for_each = var.connect ? [1] : []
          content {
            native = true
          }
        }
        check {
          name     = "can serve"
          type     = "http"
          port     = "admin"
          path     = "/ready"
          interval = var.check_interval
          timeout  = "2s"
        }
      }
    }

    spread {
      attribute = "${node.unique.id}"
    }

    # An agent that cannot start, because a port is taken for instance, tries again soon.
    restart {
      attempts = 10
      interval = "5m"
      delay    = "2s"
      mode     = "delay"
    }

    task "agent" {
      driver       = var.driver
      kill_signal  = "SIGTERM"
      kill_timeout = var.kill_timeout

      dynamic "config" {
        for_each = var.driver == "docker" ? [] : [1]
        content {
          command = local.command
          args    = ["agent", "-config", "${NOMAD_TASK_DIR}/agent.hcl"]
        }
      }
      dynamic "config" {
        for_each = var.driver == "docker" ? [1] : []
        content {
          image        = var.image
          network_mode = "host"
          args         = ["agent", "-config", "${NOMAD_TASK_DIR}/agent.hcl"]
        }
      }
      dynamic "artifact" {
        for_each = var.artifact == "" ? [] : [1]
        content {
          source      = var.artifact
          destination = "local/"
          dynamic "options" {
            for_each = var.checksum == "" ? [] : [1]
            content {
              checksum = var.checksum
            }
          }
        }
      }
      dynamic "consul" {
        for_each = var.consul_identity ? [1] : []
        content {}
      }

      env {
        CONSUL_HTTP_ADDR = var.consul_addr
      }

      # The agent reads it again when it changes.
      dynamic "template" {
        for_each = var.admin_token == "" ? [] : [1]
        content {
          destination = "secrets/admin.tokens"
          data        = var.admin_token
          perms       = "600"
          change_mode = "noop"
        }
      }

      template {
        destination   = "local/agent.hcl"
        data          = var.config_key == "" ? local.config : "{{ key \"${var.config_key}\" }}"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        splay         = "0s"
      }

      resources {
        cpu    = var.cpu
        memory = var.memory
      }
    }
  }
}
