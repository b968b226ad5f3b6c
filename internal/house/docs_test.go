package house

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Every library that is used directly is to be explained.
func TestDependenciesAreExplained(t *testing.T) {
	out, err := exec.Command("go", "mod", "edit", "-json", "../../go.mod").Output()
	if err != nil {
		t.Fatalf("read go.mod: %v", err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	direct := 0
	for _, r := range mod.Require {
		if r.Indirect {
			continue
		}
		direct++
		if !strings.Contains(string(text), r.Path) {
			t.Errorf("docs/dependencies.md does not say what %s is for", r.Path)
		}
	}
	if direct == 0 {
		t.Error("go.mod requires nothing directly: run go mod tidy")
	}
}
