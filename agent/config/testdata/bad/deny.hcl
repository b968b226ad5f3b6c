dtab { static = "" }
consul {}
listener "nobody" {
  address     = "127.0.0.1:7001"
  destination = "/svc/a"
  tls {
    cert_file = "testdata/bad/table.dtab"
    on_deny   = "close"
  }
}
listener "word" {
  address     = "127.0.0.1:7002"
  destination = "/svc/a"
  tls {
    connect   = "a"
    on_deny   = "kill"
    deny_rate = -1
  }
}
listener "close" {
  address     = "127.0.0.1:7003"
  destination = "/svc/a"
  tls {
    connect    = "a"
    on_deny    = "close"
    deny_grace = "5s"
  }
}
listener "keep" {
  address     = "127.0.0.1:7004"
  destination = "/svc/a"
  tls {
    connect   = "a"
    on_deny   = "keep"
    deny_rate = 5
  }
}
