# A Redis for the demo, registered in Consul under its name. One file serves for any number of them:
#
#     nomad job run -var=name=redis1 jobs/redis.nomad.hcl
#     nomad job run -var=name=redis2 jobs/redis.nomad.hcl

variable "name" {
  description = "Name of the job, and of its service in Consul."
  type        = string
  default     = "redis1"
}

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

variable "count" {
  description = "How many instances. They know nothing of each other."
  type        = number
  default     = 1
}

variable "binary" {
  description = "Where the server is on the nodes: a path, or a name to look up in PATH. Not used with docker."
  type        = string
  default     = "redis-server"
}

variable "args" {
  description = "The server's arguments. To write Nomad's own variables here, double the dollar sign."
  type        = list(string)
  default     = ["--port", "$${NOMAD_PORT_redis}", "--bind", "$${NOMAD_IP_redis}", "--protected-mode", "no", "--save", "", "--appendonly", "no"]
}

variable "image" {
  description = "Container image, for the docker driver."
  type        = string
  default     = "redis:7"
}

variable "check_interval" {
  description = "Time between two health checks."
  type        = string
  default     = "2s"
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

job "redis" {
  id          = var.name
  name        = var.name
  namespace   = var.namespace
  datacenters = var.datacenters
  type        = "service"

  group "redis" {
    count = var.count

    network {
      port "redis" {}
    }

    service {
      name = var.name
      port = "redis"
      check {
        type     = "tcp"
        interval = var.check_interval
        timeout  = "1s"
      }
    }

    task "redis" {
      driver = var.driver

      dynamic "config" {
        for_each = var.driver == "docker" ? [] : [1]
        content {
          command = var.binary
          args    = var.args
        }
      }
      dynamic "config" {
        for_each = var.driver == "docker" ? [1] : []
        content {
          image        = var.image
          network_mode = "host"
          args         = var.args
        }
      }

      resources {
        cpu    = var.cpu
        memory = var.memory
      }
    }
  }
}
