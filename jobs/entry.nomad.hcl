# The way into the fleet for workloads that speak plain TCP: one agent on every node, on the same port everywhere. It dials
# the fleet's agents with mTLS through Consul Connect. Where a connection goes is decided by the fleet, not here.
#
#     nomad job run jobs/entry.nomad.hcl
#     redis-cli -p 7474 ping          # on any node
#
# Connect asks for an intention: `consul config write` an allow from entry to proxy, unless the default is allow.

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
  description = "Name of these agents in Consul: of their service and of their Connect identity."
  type        = string
  default     = "entry"
}

variable "fleet" {
  description = "Name of the fleet in Consul."
  type        = string
  default     = "proxy"
}

variable "connect" {
  description = "Whether the fleet wants mTLS through Consul Connect."
  type        = bool
  default     = true
}

variable "bind" {
  description = "Address to listen on. 127.0.0.1 serves the workloads that share the node's network; bridged ones need an address that they can reach."
  type        = string
  default     = "127.0.0.1"
}

variable "port" {
  description = "Port to listen on, the same on every node."
  type        = number
  default     = 7474
}

variable "consul_addr" {
  description = "Consul's HTTP API, as each node's agents reach it."
  type        = string
  default     = "127.0.0.1:8500"
}

variable "consul_identity" {
  description = "Whether to log in to Consul with the workload's identity. Its role must have service:write for their name. For a Consul with ACLs."
  type        = bool
  default     = false
}

variable "log_level" {
  description = "trace, debug, info, warn or error."
  type        = string
  default     = "info"
}

variable "propagation" {
  description = "How long a leaving agent still accepts when it has left the catalog, until everybody has seen it."
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
      static = "/svc => /#/io.l5d.consul/.local"
    }

    namer "io.l5d.consul" {
      connect = ${var.connect}
    }

    listener "entry" {
      address     = "${var.bind}:${var.port}"
      destination = "/svc/${var.fleet}"
      register {}
    }

    client "/svc/${var.fleet}" {
      ${indent(2, local.tls)}
    }

    # Nomad would advertise the node's address, also where bind is another one.
    register {
      registration = "self"
    }

    drain {
      propagation = "${var.propagation}"
      timeout     = "${var.drain}"
    }
  EOT
}

job "entry" {
  id          = var.service
  name        = var.service
  namespace   = var.namespace
  datacenters = var.datacenters
  type        = "system"

  group "entry" {
    network {
      port "in" {
        static = var.port
      }
      port "admin" {}
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
        data          = local.config
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
