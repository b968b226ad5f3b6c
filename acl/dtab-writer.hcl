# What a namerd may do that keeps its tables in Consul's KV store: read and change them and their histories.
#
#   consul acl policy create -name argosy-dtab-writer -rules @acl/dtab-writer.hcl

# The histories are below namerd/dtabs/.history/. A token that may not write there changes tables without remembering it.
key_prefix "namerd/dtabs/" {
  policy = "write"
}

# Only for a namerd with namer blocks, which finds endpoints itself.
service_prefix "" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}
