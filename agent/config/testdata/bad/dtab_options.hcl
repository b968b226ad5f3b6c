dtab {
  static              = ""
  on_empty            = "fail"
  alternative_timeout = "2 seconds"
  max_names           = 0
  max_watches         = 1e9
}
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
}
