# A Prometheus that finds the agents by itself. For trying things out: it keeps its data with its allocation.
#
#     nomad job run -var=binary=/usr/bin/prometheus jobs/prometheus.nomad.hcl
#
# Agents are found in Consul. Builds that lack Consul's service discovery, such as Debian's, get the list from the scheduler:
#
#     nomad job run -var=discovery=http jobs/prometheus.nomad.hcl

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
  description = "Where prometheus is on the nodes: a path, or a name to look up in PATH. Not used with an artifact or docker."
  type        = string
  default     = "prometheus"
}

variable "artifact" {
  description = "URL of a prometheus binary that Nomad downloads. The file in it is named prometheus. Empty: none."
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
  default     = "prom/prometheus:latest"
}

variable "service" {
  description = "Name in Consul's catalog; the scheduler looks for prometheus."
  type        = string
  default     = "prometheus"
}

variable "discovery" {
  description = "How agents are found: consul, or http for the scheduler's list."
  type        = string
  default     = "consul"
  validation {
    condition     = contains(["consul", "http"], var.discovery)
    error_message = "The discovery is consul or http."
  }
}

variable "scheduler_url" {
  description = "Base URL of the scheduler, for http discovery. Empty: the Consul service argosy-scheduler."
  type        = string
  default     = ""
}

variable "scrape_interval" {
  description = "Time between two scrapes. Policies see a change of load this much later."
  type        = string
  default     = "2s"
}

variable "port" {
  description = "Port of the API, the same on every node. 0: a dynamic one."
  type        = number
  default     = 0
}

variable "consul_addr" {
  description = "Consul's HTTP API, as each node's agents reach it."
  type        = string
  default     = "127.0.0.1:8500"
}

variable "cpu" {
  description = "MHz."
  type        = number
  default     = 100
}

variable "memory" {
  description = "MB."
  type        = number
  default     = 256
}

locals {
  command        = var.artifact == "" ? var.binary : "local/prometheus"
  scheduler      = <<-EOT
    {{ $found := service "argosy-scheduler" }}{{ if $found }}{{ with index $found 0 }}http://{{ .Address }}:{{ .Port }}{{ end }}{{ else }}http://127.0.0.1:9993{{ end }}
  EOT
  from_consul    = <<-EOT
    - job_name: argosy
        consul_sd_configs:
          - server: ${var.consul_addr}
            refresh_interval: 2s
        relabel_configs:
          # Each of an agent's services names the agent's own endpoint in its meta; services without one are not ours.
          - source_labels: [__meta_consul_service_metadata_admin]
            regex: .+
            action: keep
          - source_labels: [__meta_consul_service_metadata_admin]
            target_label: __address__
          - source_labels: [__meta_consul_service]
            target_label: service
  EOT
  from_scheduler = <<-EOT
    - job_name: argosy
        http_sd_configs:
          - url: ${var.scheduler_url == "" ? trimspace(local.scheduler) : var.scheduler_url}/v1/sd
            refresh_interval: 2s
        relabel_configs:
          - source_labels: [__meta_argosy_service]
            target_label: service
  EOT
  config         = <<-EOT
    global:
      scrape_interval: ${var.scrape_interval}
      scrape_timeout: ${var.scrape_interval}
    scrape_configs:
      ${var.discovery == "consul" ? local.from_consul : local.from_scheduler}
  EOT
  args = [
    "--config.file=${NOMAD_TASK_DIR}/prometheus.yml",
    "--storage.tsdb.path=${NOMAD_TASK_DIR}/data",
    "--storage.tsdb.retention.time=1d",
    "--web.listen-address=${NOMAD_ADDR_http}",
  ]
}

job "prometheus" {
  namespace   = var.namespace
  datacenters = var.datacenters
  type        = "service"

  group "prometheus" {
    network {
      port "http" {
        static = var.port
      }
    }

    service {
      name = var.service
      port = "http"
      check {
        type     = "http"
        path     = "/-/ready"
        interval = "2s"
        timeout  = "1s"
      }
    }

    task "prometheus" {
      driver = var.driver

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

      template {
        destination   = "local/prometheus.yml"
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
