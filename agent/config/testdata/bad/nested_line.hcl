dtab { namerd { address = "127.0.0.1:4180" } }
