dtab { static = "" }
consul {}
connect {
  address = "10.0.0.1:8502"
  ca_file = "testdata/bad/client_ids.hcl"
}
listener "a" {
  address     = "127.0.0.1:7001"
  destination = "/svc/a"
  tls {
    client_spiffe_ids = [
      "spiffe://example.org/web",
      "https://example.org/web",
      "spiffe://Example.org/web",
      "spiffe://example.org/ns/*/web",
      "spiffe://example.org/web*",
      "spiffe://example.org/web/",
      "spiffe://example.org/a//b",
      "spiffe://example.org/a/../b",
      "spiffe://example.org/a%2Fb",
      "spiffe://example.org:80/a",
      "spiffe:///a",
      "spiffe://example.org/ns/prod/*",
      "spiffe://example.org/*",
      "*",
    ]
  }
}
listener "b" {
  address     = "127.0.0.1:7002"
  destination = "/svc/b"
  tls { client_spiffe_ids = [] }
}
