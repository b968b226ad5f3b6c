name = "namerd"
