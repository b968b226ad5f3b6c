admin { address = "9990" }
dtab {
  namerd { address = "127.0.0.1:4180" }
}
listener "a" {
  address     = "127.0.0.1"
  destination = "/svc/a"
}
listener "b" {
  address     = "::1:7474"
  destination = "/svc/b"
}
listener "c" {
  address     = "127.0.0.1:http"
  destination = "/svc/c"
}
listener "d" {
  address     = "127.0.0.1:70000"
  destination = "/svc/d"
}
listener "e" {
  address     = "256.0.0.1:7474"
  destination = "/svc/e"
}
listener "f" {
  address     = "http://127.0.0.1:7474"
  destination = "/svc/f"
}
