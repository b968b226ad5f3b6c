package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// golden compares got with a file; with UPDATE_GOLDEN set it writes the file instead, to be read before it is kept.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n--- got\n%s\n--- want\n%s", file, got, want)
	}
}

func TestEveryMistakeIsShown(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.hcl")
	if err != nil || len(files) < 15 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			cfg, err := Load([]string{file})
			if err == nil || cfg != nil {
				t.Fatalf("loaded: %+v", cfg)
			}
			if strings.Contains(err.Error(), "very-secret") {
				t.Errorf("shows a secret:\n%v", err)
			}
			golden(t, strings.TrimSuffix(file, ".hcl")+".txt", err.Error()+"\n")
		})
	}
}
