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
      /svc       => /#/io.l5d.fs ;
      /svc/redis => /svc/redis1 ;
    EOT
  }
}
