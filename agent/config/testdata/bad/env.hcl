name = env("ARGOSY_TEST_UNSET")
consul {
  token = env("ARGOSY_TEST_UNSET_TOKEN")
}
dtab {
  namespace = env("ARGOSY_TEST_UNSET_NAMESPACE")
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
client "/svc" {
  tls { server_name = env("ARGOSY_TEST_UNSET_NAME") }
}
register {
  tags = [env("ARGOSY_TEST_UNSET_TAG"), "b"]
  meta = { a = env("ARGOSY_TEST_UNSET_META") }
}
