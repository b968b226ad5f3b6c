# argosy agent -config hcl/agent-linkerd-tcp.hcl
#
# In the place of linkerd-tcp: a namerd, this project's or Namerd 1.x, says what names stand for, with its tables and
# its namers. What argosy migrate linkerd-tcp makes of a linkerd-tcp.yml looks like this.

name = "linkerd-tcp"

# As linkerd-tcp's admin section.
admin {
  address = "127.0.0.1:9989"
}

interpreter "namerd" {
  address   = env("NAMERCTL_BASE_URL", "http://127.0.0.1:4180") # baseUrl
  namespace = "default"

  # Names and endpoints are followed by streams, so that a change applies at once. Where streams do not come through, a
  # name is asked for in this interval: periodSecs. With mode = "poll" it always is, as linkerd-tcp did.
  mode          = "auto"
  poll_interval = "20s"

  # Entries of this agent alone, which win over the table in namerd:
  # local = "/svc/redis => /svc/redis2"
}

listener "redis" {
  address     = "127.0.0.1:7474"
  destination = "/svc/redis" # dstName

  max_connections = 1000
  connect_timeout = "2s"
}

client "/svc/redis" {
  connect_timeout = "500ms"
  retries         = 2
}
