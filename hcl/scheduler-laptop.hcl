# The scheduler on a laptop: no Nomad, no Prometheus. Inside `argosy dev` it starts and stops local processes, and reads
# their metrics directly. The control law is the same as in production; only the times are shorter, to have something to
# look at.

evaluation_interval = "1s"

http {
  address = "127.0.0.1:9993"
}

# The agents' admin endpoints: those listed here and in the file, and those that the program that runs the processes
# knows of.
scrape {
  targets_file = env("ARGOSY_TARGETS_FILE", "targets.txt")
  interval     = "1s"
}

policy "fleet" {
  target "process" {
    name = "proxy"
  }

  metric = "argosy_connections_active" # summed over all agents
  match  = { listener = "redis" }

  target_value = 20
  min          = 1
  max          = 6

  cooldown_up   = "2s"
  cooldown_down = "5s"
  down_window   = "5s"
  max_age       = "5s"
}
