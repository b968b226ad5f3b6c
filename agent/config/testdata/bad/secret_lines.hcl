consul {
  token = <<EOT
very-secret ${ENV}
EOT
}
admin { adress = "x" }
