# What is needed to read tables and their histories in Consul's KV store: for agents that have nothing else to do with
# Consul, and for a namerd whose HTTP API is read_only.
#
#   consul acl policy create -name argosy-dtab-reader -rules @acl/dtab-reader.hcl

key_prefix "namerd/dtabs/" {
  policy = "read"
}
