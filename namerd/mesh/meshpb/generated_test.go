package meshpb

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The generator has noted the sums of what it read and wrote. A .proto file that was changed since, or code that was
// changed by hand, has another one.
func TestCodeIsCurrent(t *testing.T) {
	sums, err := os.Open("generated.sum")
	if err != nil {
		t.Fatal(err)
	}
	defer sums.Close()
	noted := map[string]bool{}
	for lines := bufio.NewScanner(sums); lines.Scan(); {
		sum, name, _ := strings.Cut(lines.Text(), "  ")
		noted[name] = true
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%x", sha256.Sum256(content)) != sum {
			t.Errorf("%s has changed: run go generate ./namerd/mesh/meshpb", name)
		}
	}
	for _, pattern := range []string{"*.proto", "*.pb.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, f := range files {
			if !noted[f] {
				t.Errorf("%s is not in generated.sum: name it in doc.go, and run go generate", f)
			}
		}
	}
}
