package page

import (
	"os"
	"path/filepath"
	"testing"
)

func TestInsert(t *testing.T) {
	begin, end := marks("make it")
	before := "before\n" + begin + "\nold\n" + end + "\nafter\n"
	want := "before\n" + begin + "\nnew\n" + end + "\nafter\n"
	once, err := Insert(before, "make it", "new\n\n")
	if err != nil || once != want {
		t.Fatalf("got %q, %v, want %q", once, err, want)
	}
	if twice, err := Insert(once, "make it", "new"); err != nil || twice != want {
		t.Errorf("twice: got %q, %v, want %q", twice, err, want)
	}
	if part, err := Part(once, "make it"); err != nil || part != "\nnew\n" {
		t.Errorf("the part is %q, %v", part, err)
	}
	for _, page := range []string{"", begin, end, end + begin} {
		if _, err := Insert(page, "make it", "new"); err == nil {
			t.Errorf("inserted into %q", page)
		}
	}
}

// A page that has no place for it stays as it is.
func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	for _, text := range []string{"nothing", "<!-- make it writes from here --><!-- to here -->"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		err := Write(path, "make it", "new")
		after, _ := os.ReadFile(path)
		if failed := err != nil; failed != (string(after) == text) || failed != (text == "nothing") {
			t.Errorf("%q became %q, %v", text, after, err)
		}
	}
}
