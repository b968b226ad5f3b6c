package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// maxNamerctl is how much of a .namerctl file is read.
const maxNamerctl = 64 << 10

// tomlBaseURL is the one line of TOML that matters here.
var tomlBaseURL = regexp.MustCompile(`(?m)^\s*"?base-url"?\s*=\s*["']([^"'\n]*)["']`)

// namerctlURL is the base-url in a file, or if none is named in a .namerctl file of the working directory or the closest
// one above it, as namerctl looks for it; "" where there is none.
func namerctlURL(file string) (string, error) {
	if file != "" {
		return baseURLIn(file)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", nil // then there is nothing to look through
	}
	for {
		for _, extension := range []string{"yaml", "yml", "json", "toml"} {
			file := filepath.Join(dir, ".namerctl."+extension)
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
				return baseURLIn(file)
			}
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", nil
		}
		dir = above
	}
}

func baseURLIn(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxNamerctl))
	if err != nil {
		return "", err
	}
	if filepath.Ext(file) == ".toml" {
		if m := tomlBaseURL.FindSubmatch(text); m != nil {
			return string(m[1]), nil
		}
		return "", nil
	}
	var config struct {
		BaseURL string `yaml:"base-url"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil { // JSON is YAML
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return config.BaseURL, nil
}
