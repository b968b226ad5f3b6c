dtab {
  static = <<-EOT
    # comments are fine
    /svc  => /#/io.l5d.consul/dc1 ;
    /svc/a => 0.9 * /x & 0.1 / y ;
  EOT
}
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
}
