# argosy namerd -config hcl/namerd-memory.hcl
#
# Tables that last as long as this process: for trying things out, and for laptops.

http {
  address = "127.0.0.1:4180"
}

store "memory" {
  # What there is at the start.
  namespaces = {
    default = <<-EOT
      /svc       => /#/static ;
      /svc/redis => /svc/redis1 ;
    EOT
  }
}

# Who asks what names stand for, Linkerd or linkerd-tcp for instance, needs the namers here as well:
# curl 'http://127.0.0.1:4180/api/1/bind/default?path=/svc/redis'
namer "static" {
  services = { redis1 = ["127.0.0.1:6379"] }
}
