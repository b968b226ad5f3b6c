name = env("ARGOSY_TEST_UNSET")
consul {
  token = env("ARGOSY_TEST_UNSET_TOKEN")
}
dtab {
  static = "/svc => /${env("ARGOSY_TEST_UNSET", "#")}/static; /x"
}
listener "redis" {
  address     = "127.0.0.1:${env("ARGOSY_TEST_PORT_X", "http")}"
  destination = enw("X")
}
listener "web" {
  address     = proxy
  destination = env("A", "B", "C")
}
