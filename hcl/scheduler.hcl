# argosy scheduler -config hcl/scheduler.hcl
#
# Scales the proxy fleet in Nomad by its open connections, as Prometheus sees them, and whatever else the jobs in Nomad
# ask for in their own scaling blocks. Everything that is not written here has a default; `argosy scheduler -h` tells
# where to look it up.

evaluation_interval = "2s"

log {
  level  = "info" # changes and the first hold of a kind; debug shows every decision
  format = "text"
}

# /metrics, /health, /v1/policies, /v1/decisions, and for Prometheus /v1/sd.
http {
  address = env("ARGOSY_HTTP_ADDRESS", "127.0.0.1:9993")
}

# The address, token and certificates come from NOMAD_ADDR, NOMAD_TOKEN and so on unless they are written here. The token
# needs read-job, read-job-scaling and scale-job; for the jobs block also list-scaling-policies and read-scaling-policy.
nomad {
  address    = env("NOMAD_ADDR", "http://127.0.0.1:4646")
  namespaces = ["default"]
}

prometheus {
  address = env("PROMETHEUS_ADDR", "http://127.0.0.1:9090")
  timeout = "2s"
}

# Lists the agents at /v1/sd for Prometheus's http_sd_configs. A Prometheus that knows consul_sd_configs can ask Consul
# itself and does not need it.
consul {
  address = env("CONSUL_HTTP_ADDR", "127.0.0.1:8500")
}

discovery {
  services = ["proxy"]
}

# Jobs can bring their own policies:
#
#   scaling {
#     min = 1
#     max = 10
#     policy {
#       scheduler    = "argosy"
#       query        = "sum(argosy_connections_active and on (instance) up == 1)"
#       target_value = 50
#     }
#   }
jobs {
  watch = true
}

# Connections are a good load to scale by: the gauge is right even for connections that live for days, and survives
# missed scrapes. The query leaves out agents that are down: after a crash of Prometheus, what they last said would
# otherwise be believed for minutes.
policy "fleet" {
  target "nomad" {
    job   = "proxy"
    group = "proxy"
  }

  query      = "sum(argosy_connections_active{job=\"argosy\"} and on (instance) up{job=\"argosy\"} == 1)"
  age        = "max(time() - timestamp(argosy_connections_active{job=\"argosy\"}) and on (instance) up{job=\"argosy\"} == 1)"
  partial_if = "count(up{job=\"argosy\"} == 0)" # while an agent cannot be scraped, the fleet does not shrink

  target_value = 200 # connections for each instance
  min          = 2
  max          = 20

  cooldown_up   = "10s"
  cooldown_down = "1m"
  down_window   = "1m"  # shrink to what the busiest moment of the last minute needs
  max_age       = "15s" # older data holds the count
  step_down     = 2     # long-lived connections move when an instance leaves: not too many at once
}
