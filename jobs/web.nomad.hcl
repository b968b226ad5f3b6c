# The demo's web servers: they cache in Redis, which they reach through the entry agent of their node.
#
#     nomad job run -var=count=2 jobs/web.nomad.hcl

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
  description = "How many web servers."
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
  default     = "web"
}

variable "redis" {
  description = "Where they find Redis: the entry agent."
  type        = string
  default     = "127.0.0.1:7474"
}

variable "args" {
  description = "More arguments, such as [\"-hold-max\", \"200ms\"]."
  type        = list(string)
  default     = []
}

variable "cpu" {
  description = "MHz."
  type        = number
  default     = 100
}

variable "memory" {
  description = "MB."
  type        = number
  default     = 64
}

locals {
  command = var.artifact == "" ? var.binary : "local/argosy"
  args    = concat(["demo-child", "web", "-address", "${NOMAD_ADDR_http}", "-redis", var.redis], var.args)
}

job "web" {
  namespace   = var.namespace
  datacenters = var.datacenters
  type        = "service"

  group "web" {
    count = var.count

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

    task "web" {
      driver      = var.driver
      kill_signal = "SIGTERM"

      dynamic "config" {
        for_each = var.driver == "docker" ? [] : [1]
        content {
          command = local.command
          args    = local.args
        }
      }
      dynamic "config" {
        for_each = var.driver == "docker" ? [1] : []
        content {
          image        = var.image
          network_mode = "host"
          args         = local.args
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

      resources {
        cpu    = var.cpu
        memory = var.memory
      }
    }
  }
}
