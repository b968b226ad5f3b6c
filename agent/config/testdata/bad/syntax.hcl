listener "a" {
  address = 127.0.0.1:7474
  destination = "/svc/a"
}
consul {
  token = "very-secret" oops
}
