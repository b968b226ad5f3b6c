# Laptop mode: a web server and its cache, with the cache behind a fleet of real proxies. Run it with
#
#     argosy dev demo/dev-example.hcl
#
# and follow what it prints. Change the table while it runs, for instance to send a tenth of the new connections to the
# next version of the cache:
#
#     argosy dtab update default -addr http://127.0.0.1:4180 -dtab '
#       /svc => /#/io.l5d.fs ; /svc/cache => 9 * /svc/cache-a & 1 * /svc/cache-b'

# The table to begin with. Every service below is /#/io.l5d.fs/NAME.
dtab = <<EOT
/svc       => /#/io.l5d.fs ;
/svc/cache => /svc/cache-a ;
EOT

# Where the table can be read and changed. Without this block: on a free port.
namerd {
  address = "127.0.0.1:4180"
}

# A command, run on this machine. Each instance gets a free port for each label, and is listed with the first of them
# once it accepts connections. ${argosy} is this program, whose demo has a Redis; yours would be
#   command = ["redis-server", "--port", "${port.redis}"]
service "cache-a" {
  command = ["${argosy}", "demo-child", "redis", "-name", "cache-a", "-address", "127.0.0.1:${port.redis}"]
  ports   = ["redis"]
}

service "cache-b" {
  command = ["${argosy}", "demo-child", "redis", "-name", "cache-b", "-address", "127.0.0.1:${port.redis}"]
  ports   = ["redis"]
}

# ${proxy.NAME} is the address of a fleet. The same is in the environment of every service, as ARGOSY_PROXY_NAME; its own
# ports are there as ARGOSY_PORT_LABEL.
service "web" {
  command = ["${argosy}", "demo-child", "web", "-address", "127.0.0.1:${port.http}", "-redis", "${proxy.cache}"]
  ports   = ["http"]
  count   = 2
}

# A fleet of agents that share one address. With mtls = true clients need a certificate, which every service finds in
# the files ${tls.cert_file}, ${tls.key_file} and ${tls.ca_file}.
proxy "cache" {
  address     = "127.0.0.1:7474"
  destination = "/svc/cache"

  # How many there are: one for every 20 open connections.
  min           = 1
  max           = 4
  target_value  = 20
  cooldown_up   = "2s"
  cooldown_down = "10s"
  drain_timeout = "15s"
}
