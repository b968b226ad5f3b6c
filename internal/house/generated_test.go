package house

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
func TestGeneratedCodeIsCurrent(t *testing.T) {
	found := 0
	for _, p := range packages(t) {
		protos, err := filepath.Glob(filepath.Join(p.Dir, "*.proto"))
		if err != nil {
			t.Fatal(err)
		}
		if len(protos) > 0 {
			found++
			checkSums(t, p.Dir, strings.Replace(p.ImportPath, "argosy", ".", 1))
		}
	}
	if found < 2 {
		t.Errorf("%d packages with .proto files were found", found)
	}
}

func checkSums(t *testing.T, dir, folder string) {
	sums, err := os.Open(filepath.Join(dir, "generated.sum"))
	if err != nil {
		t.Fatal(err)
	}
	defer sums.Close()
	noted := map[string]bool{}
	for lines := bufio.NewScanner(sums); lines.Scan(); {
		sum, name, _ := strings.Cut(lines.Text(), "  ")
		noted[name] = true
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%x", sha256.Sum256(content)) != sum {
			t.Errorf("%s/%s has changed: run go generate %s", folder, name, folder)
		}
	}
	for _, pattern := range []string{"*.proto", "*.pb.go"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(files) == 0 {
			t.Fatal(folder, pattern, err)
		}
		for _, f := range files {
			if name := filepath.Base(f); !noted[name] {
				t.Errorf("%s/%s is not in generated.sum: name it in doc.go, and run go generate", folder, name)
			}
		}
	}
}
