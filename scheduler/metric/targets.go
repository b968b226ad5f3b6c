package metric

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// TargetsFile reads a list of targets: one per line, with '#' for comments, or the JSON of Prometheus's file and HTTP
// service discovery. A file that does not exist yet lists nothing.
func TargetsFile(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the targets: %w", err)
	}
	text := strings.TrimSpace(string(b))
	var targets []string
	if strings.HasPrefix(text, "[") {
		var groups []struct {
			Targets []string `json:"targets"`
		}
		if err := json.Unmarshal([]byte(text), &groups); err != nil {
			return nil, fmt.Errorf("reading the targets in %s: %w", path, err)
		}
		for _, g := range groups {
			targets = append(targets, g.Targets...)
		}
	} else {
		for line := range strings.Lines(text) {
			line, _, _ = strings.Cut(line, "#")
			if line = strings.TrimSpace(line); line != "" {
				targets = append(targets, line)
			}
		}
	}
	slices.Sort(targets)
	return slices.Compact(targets), nil
}
