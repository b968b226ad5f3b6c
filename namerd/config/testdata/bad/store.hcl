http {
  adress    = ":4180"
  read_only = 1
}
store "zookeeper" {}
store "memory" {
  namespaces = {
    default = <<-EOT
      /svc => /host ;
      /host /#/io.l5d.fs ;
    EOT
    "a b"   = ""
    other   = 5
  }
  path_prefix = "x"
}
store "consul" {
  path_prefix = "/"
}
