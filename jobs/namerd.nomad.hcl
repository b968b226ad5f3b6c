# namerd: the HTTP API of the Dtabs, over Consul's KV store. Agents watch the store themselves, so that no namerd needs to be
# up for traffic to flow or for a change to arrive.
#
#     nomad job run jobs/namerd.nomad.hcl
#     argosy dtab list -addr http://HOST:4180

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
  description = "How many instances. They keep nothing themselves."
  type        = number
  default     = 1
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
  default     = "namerd"
}

variable "bind" {
  description = "Address to listen on; the API has no access control of its own. Empty: the one that Nomad gives the port."
  type        = string
  default     = ""
}

variable "port" {
  description = "Port of the API, the same on every node. 0: a dynamic one."
  type        = number
  default     = 4180
}

variable "mesh_port" {
  description = "Port of the interface of Linkerd 1.x (io.l5d.mesh), 4321 by custom. 0: none."
  type        = number
  default     = 0
}

variable "path_prefix" {
  description = "Folder of the Dtabs in Consul's KV store."
  type        = string
  default     = "namerd/dtabs"
}

variable "consul_addr" {
  description = "Consul's HTTP API, as each node's agents reach it."
  type        = string
  default     = "127.0.0.1:8500"
}

variable "consul_identity" {
  description = "Whether to log in to Consul with the workload's identity. Its role must have key:write for the Dtabs. For a Consul with ACLs."
  type        = bool
  default     = false
}

variable "token" {
  description = "What clients of the API show, agents among them: openssl rand -hex 32 makes one. Empty: whoever reaches the API may change tables."
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
  description = "MB. Each stream that somebody follows takes about 27 KB."
  type        = number
  default     = 128
}

locals {
  command = var.artifact == "" ? var.binary : "local/argosy"
  config  = <<-EOT
    log {
      level = "${var.log_level}"
    }

    http {
      address = ${var.bind == "" ? "env(\"NOMAD_ADDR_http\")" : "\"${var.bind}:${var.port}\""}
      ${var.token == "" ? "insecure = true" : "token_file = format(\"%s/tokens\", env(\"NOMAD_SECRETS_DIR\"))"}
      open = ["/health", "/ready", "/metrics"]
    }

    store "consul" {
      path_prefix = "${var.path_prefix}"
    }

    # So that it can say what names stand for, as agents see it: bind, resolve, explain.
    namer "io.l5d.consul" {}
%{if var.mesh_port > 0~}

    # Linkerd 1.x, by interpreter: { kind: io.l5d.mesh }.
    mesh {
      address = ${var.bind == "" ? "env(\"NOMAD_ADDR_mesh\")" : "\"${var.bind}:${var.mesh_port}\""}
    }
%{endif~}
  EOT
}

job "namerd" {
  namespace   = var.namespace
  datacenters = var.datacenters
  type        = "service"

  group "namerd" {
    count = var.count

    network {
      port "http" {
        static = var.port
      }
      dynamic "port" {
        for_each = var.mesh_port > 0 ? ["mesh"] : []
        labels   = [port.value]
        content {
          static = var.mesh_port
        }
      }
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

    task "namerd" {
      driver      = var.driver
      kill_signal = "SIGTERM"

      dynamic "config" {
        for_each = var.driver == "docker" ? [] : [1]
        content {
          command = local.command
          args    = ["namerd", "-config", "${NOMAD_TASK_DIR}/namerd.hcl"]
        }
      }
      dynamic "config" {
        for_each = var.driver == "docker" ? [1] : []
        content {
          image        = var.image
          network_mode = "host"
          args         = ["namerd", "-config", "${NOMAD_TASK_DIR}/namerd.hcl"]
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
        destination   = "local/namerd.hcl"
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
