# The scheduler: scales the jobs whose scaling blocks say scheduler = "argosy", and what its own policies name, by Prometheus's
# data.
#
#     nomad job run jobs/scheduler.nomad.hcl
#
# One is enough, and two would not agree: while it is away, counts stay as they are. It talks to Nomad with the identity of
# its task. Where Nomad has ACLs, give that identity the rights it needs:
#
#     nomad acl policy apply -job scheduler scheduler - <<EOF
#     namespace "default" {
#       policy       = "scale"
#       capabilities = ["read-job"]
#     }
#     EOF

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
  description = "URL of the argosy binary, or of an archive with it, that Nomad downloads for every task. Empty: none."
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
  description = "Name in Consul's catalog."
  type        = string
  default     = "argosy-scheduler"
}

variable "nomad_addr" {
  description = "Nomad's HTTP API. Empty: the socket that Nomad puts into the task's secrets folder."
  type        = string
  default     = ""
}

variable "nomad_namespaces" {
  description = "Nomad namespaces whose jobs may be scaled."
  type        = list(string)
  default     = ["default"]
}

variable "prometheus_url" {
  description = "Base URL of Prometheus. Empty: the first instance of the Consul service prometheus."
  type        = string
  default     = ""
}

variable "evaluation_interval" {
  description = "Time between two evaluations of a policy."
  type        = string
  default     = "2s"
}

variable "discovery" {
  description = "Consul services whose agents /v1/sd lists, for a Prometheus that cannot ask Consul."
  type        = list(string)
  default     = ["proxy", "entry"]
}

variable "policies" {
  description = "More of the scheduler's configuration, such as policy blocks for jobs without a scaling block."
  type        = string
  default     = ""
}

variable "consul_addr" {
  description = "Consul's HTTP API, as each node's agents reach it."
  type        = string
  default     = "127.0.0.1:8500"
}

variable "consul_identity" {
  description = "Whether to log in to Consul with the workload's identity. Its role must have service:read. For a Consul with ACLs."
  type        = bool
  default     = false
}

variable "token" {
  description = "What callers show for more than health, metrics and the list of agents: openssl rand -hex 32 makes one. Empty: nobody gets more."
  type        = string
  default     = ""
}

variable "log_level" {
  description = "trace, debug, info, warn or error."
  type        = string
  default     = "info"
}

variable "cpu" {
  description = "MHz."
  type        = number
  default     = 50
}

variable "memory" {
  description = "MB."
  type        = number
  default     = 96
}

locals {
  command    = var.artifact == "" ? var.binary : "local/argosy"
  prometheus = <<-EOT
    {{ $found := service "prometheus" }}{{ if $found }}{{ with index $found 0 }}http://{{ .Address }}:{{ .Port }}{{ end }}{{ else }}http://127.0.0.1:9090{{ end }}
  EOT
  config     = <<-EOT
    log {
      level = "${var.log_level}"
    }

    evaluation_interval = "${var.evaluation_interval}"

    # Health checks and Prometheus come here; for policies and decisions, callers need the token.
    http {
      address = env("NOMAD_ADDR_http")
      ${var.token == "" ? "" : "token_file = format(\"%s/tokens\", env(\"NOMAD_SECRETS_DIR\"))"}
      open = ["/health", "/ready", "/metrics", "/v1/sd"]
    }

    nomad {
      namespaces = ${jsonencode(var.nomad_namespaces)}
    }

    consul {}

    discovery {
      services = ${jsonencode(var.discovery)}
    }

    prometheus {
      address = "${var.prometheus_url == "" ? trimspace(local.prometheus) : var.prometheus_url}"
    }

    jobs {
      watch = true
    }

    ${var.policies}
  EOT
}

job "scheduler" {
  namespace   = var.namespace
  datacenters = var.datacenters
  type        = "service"

  group "scheduler" {
    network {
      port "http" {}
    }

    service {
      name = var.service
      port = "http"
      check {
        type     = "http"
        path     = "/health"
        interval = "2s"
        timeout  = "1s"
      }
    }

    task "scheduler" {
      driver      = var.driver
      kill_signal = "SIGTERM"

      dynamic "config" {
        for_each = var.driver == "docker" ? [] : [1]
        content {
          command = local.command
          args    = ["scheduler", "-config", "${NOMAD_TASK_DIR}/scheduler.hcl"]
        }
      }
      dynamic "config" {
        for_each = var.driver == "docker" ? [1] : []
        content {
          image        = var.image
          network_mode = "host"
          args         = ["scheduler", "-config", "${NOMAD_TASK_DIR}/scheduler.hcl"]
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

      # The task's own token, as NOMAD_TOKEN.
      identity {
        env = true
      }

      env {
        CONSUL_HTTP_ADDR = var.consul_addr
        NOMAD_ADDR       = var.nomad_addr == "" ? "unix://${NOMAD_SECRETS_DIR}/api.sock" : var.nomad_addr
      }

      # It is read again when it changes.
      dynamic "template" {
        for_each = var.token == "" ? [] : [1]
        content {
          destination = "secrets/tokens"
          data        = var.token
          perms       = "600"
          change_mode = "noop"
        }
      }

      template {
        destination   = "local/scheduler.hcl"
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
