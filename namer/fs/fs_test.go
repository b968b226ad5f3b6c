package fs

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/namer"
	"argosy/namer/inet"
	"argosy/namer/namertest"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestContract(t *testing.T) {
	namertest.Run(t, func(t *testing.T) namertest.Fixture {
		root := t.TempDir()
		file := filepath.Join(root, "redis")
		write(t, file, "# two\n127.1 6380 * 2\nlocalhost 6379\n\n")
		return namertest.Fixture{
			Namer: New(root, nil), Name: dtab.Path{"redis"}, Missing: dtab.Path{"nothing"},
			Change:  func() { write(t, file, "127.0.0.1 6381\n") },
			Trouble: func() { write(t, file, "127.0.0.1 6381\n127.0.0.1 x\n") },
		}
	})
}

func TestContractInAFolder(t *testing.T) {
	namertest.Run(t, func(t *testing.T) namertest.Fixture {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, "team", "blue"), 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(root, "team", "blue", "web")
		write(t, file, "127.0.0.1 80\n")
		return namertest.Fixture{
			Namer: New(root, nil), Name: dtab.Path{"team", "blue", "web"}, Missing: dtab.Path{"team", "blue"},
			Change: func() { // as editors and configuration managers do it
				write(t, file+".new", "127.0.0.1 81\n")
				if err := os.Rename(file+".new", file); err != nil {
					t.Fatal(err)
				}
			},
			Trouble: func() {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				if err := syscall.Mkfifo(file, 0o600); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

// watched is a name that is being watched.
type watched struct {
	t       *testing.T
	mu      sync.Mutex
	answers []string
}

func follow(t *testing.T, n *Namer, name string) *watched {
	w := &watched{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Watch(ctx, dtab.Path{"#", "fs"}, dtab.MustParsePath(name), func(a namer.Answer) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if text := show(a); len(w.answers) == 0 || w.answers[len(w.answers)-1] != text {
				w.answers = append(w.answers, text)
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

func show(a namer.Answer) string {
	if a.Status != namer.OK {
		return a.Status.String()
	}
	if a.Tree.Kind != dtab.Leaf {
		return "~"
	}
	b := a.Tree.Leaf.Bound
	text := b.ID.String() + " " + b.Residual.String() + " " + b.Addr.Status.String()
	if b.Addr.Err != nil {
		text += ": " + b.Addr.Err.Error()
	}
	for _, e := range b.Addr.Endpoints {
		text += " " + e.Addr
	}
	if b.Addr.Stale {
		text += " stale"
	}
	return text
}

func (w *watched) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.answers) == 0 {
		return ""
	}
	return w.answers[len(w.answers)-1]
}

func (w *watched) await(want string) {
	w.t.Helper()
	for end := time.Now().Add(10 * time.Second); w.last() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("got %q, want %q", w.last(), want)
		}
	}
}

func TestLife(t *testing.T) {
	root := filepath.Join(t.TempDir(), "later")
	n := New(root, nil)
	w := follow(t, n, "/redis/rest")
	w.await("failed") // there is no folder
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	w.await("~")
	file := filepath.Join(root, "redis")
	write(t, file, "10.0.0.2 1\n10.0.0.1 1\n")
	w.await("/#/fs/redis /rest ok 10.0.0.1:1 10.0.0.2:1")
	write(t, file, "10.0.0.2 1\n10.0.0") // being written
	w.await("/#/fs/redis /rest ok 10.0.0.1:1 10.0.0.2:1 stale")
	write(t, file, "10.0.0.2 1\n10.0.0.3 1\n")
	w.await("/#/fs/redis /rest ok 10.0.0.2:1 10.0.0.3:1")
	write(t, file, "10.0.0.2 2\n10.0.0.3 2\n") // same size, maybe the same time
	w.await("/#/fs/redis /rest ok 10.0.0.2:2 10.0.0.3:2")
	write(t, file, strings.Repeat("#", largest+1))
	w.await("/#/fs/redis /rest ok 10.0.0.2:2 10.0.0.3:2 stale")
	write(t, file, "# nobody left\n")
	w.await("/#/fs/redis /rest ok")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.await("~")
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(file, "rest"), "10.0.0.9 9\n")
	w.await("/#/fs/redis/rest / ok 10.0.0.9:9")
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	w.await("/#/fs/redis/rest / ok 10.0.0.9:9 stale") // the folder is gone: that says nothing about the service
}

// What Linkerd's namer makes of a file, this one makes of it, too.
func TestFirstSight(t *testing.T) {
	root := t.TempDir()
	n := New(root, nil)
	for i, c := range []struct{ text, want string }{
		{"", "ok"},
		{"# nobody\n\n", "ok"},
		{"127.1 8080\n10.0.0.1 80 * 2 # two\n", "ok 10.0.0.1:80 127.0.0.1:8080"},
		{"10.0.0.1 80\n  what is this  # a comment\n10.0.0.2\n", "failed: malformed address: what is this"},
		{"10.0.0.1 80 * heavy\n", "failed: malformed address: 10.0.0.1 80 * heavy"},
		{strings.Repeat("#", largest-1) + "\n", "ok"},
		{strings.Repeat("#", largest) + "\n", "failed: " + filepath.Join(root, "s6") + ": larger than 500000 bytes"},
	} {
		name := fmt.Sprint("s", i)
		write(t, filepath.Join(root, name), c.text)
		follow(t, n, "/"+name+"/rest").await("/#/fs/" + name + " /rest " + c.want)
	}
	follow(t, n, "/nothing").await("~")
}

// A writer that empties the file first and takes its time must not empty the service, and one that is half done must
// not spoil it.
func TestWhatIsBelieved(t *testing.T) {
	start := time.Now()
	for _, c := range []struct {
		name  string
		texts []string // what is there at every look
		want  string   // the looks that are believed
	}{
		{"whole at once", []string{"a 1\n", "a 1\n"}, "0"},
		{"no last newline at first", []string{"a 1", "a 12\n", "a 12\n"}, "2"},
		{"half at first", []string{"a", "a 1\n", "a 1\n"}, "2"},
		{"bad and stays so", []string{"a", "a", "a"}, "1"},
		{"a change seen twice", []string{"a 1\n", "a 2\n", "a 2\n", "a 2\n"}, "02"},
		{"flapping", []string{"a 1\n", "a 2\n", "a 1\n", "a 2\n", "a 1\n", "a 1\n"}, "0"},
		{"emptied for a while", []string{"a 1\n", "", "", "", "", "a 2\n", "a 2\n"}, "06"},
		{"emptied", append([]string{"a 1\n"}, make([]string, 12)...), "0b"},
	} {
		var b belief
		got := ""
		for i, text := range c.texts {
			if b.changed(look{done: true, used: 1, text: text, at: start.Add(time.Duration(i) * poll)}) {
				got += strconv.FormatInt(int64(i), 36)
			}
		}
		if got != c.want {
			t.Errorf("%s: believed %q, want %q", c.name, got, c.want)
		}
	}
}

func TestEmptiedFileIsBelievedInTheEnd(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "redis")
	write(t, file, "10.0.0.1 1\n")
	w := follow(t, New(root, nil), "/redis")
	w.await("/#/fs/redis / ok 10.0.0.1:1")
	write(t, file, "")
	w.await("/#/fs/redis / ok")
}

// When a file comes to name a host, the old endpoints stay until DNS has answered.
func TestNewHostsDoNotEmptyTheService(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "redis")
	write(t, file, "10.0.0.1 1\n")
	n := New(root, nil)
	answerNow := make(chan struct{})
	n.resolver = inet.Resolver{Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
		select {
		case <-answerNow:
			return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	w := follow(t, n, "/redis")
	w.await("/#/fs/redis / ok 10.0.0.1:1")
	write(t, file, "redis.example 1\n")
	time.Sleep(6 * poll)
	if got := w.last(); got != "/#/fs/redis / ok 10.0.0.1:1" {
		t.Errorf("while DNS is asked: %s", got)
	}
	close(answerNow)
	w.await("/#/fs/redis / ok 10.0.0.7:1")
}

func TestNothingLeadsOutOfTheFolder(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "..", "secret"), "10.0.0.1 1\n")
	write(t, filepath.Join(root, ".hidden"), "10.0.0.1 1\n")
	n := New(root, nil)
	for _, key := range []dtab.Path{{"..", "secret"}, {"../secret"}, {".hidden"}, {"."}, {"a\x00b"}, {"..\\secret"}, nil} {
		if _, _, ok := n.Split(key); ok {
			t.Errorf("%q is looked for", key)
		}
	}
	for _, key := range []dtab.Path{{"a", "..", "..", "secret"}, {"a", "../../secret"}, {"a", "b/c"}} {
		if l := n.look(key, look{}); !l.missing {
			t.Errorf("%q: %+v", key, l)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a 1", "a 1 1;"},
		{" a\t1 \r\n\n#c\n b 2*3 # c\nc 3 * .5#\n::1 4", "a 1 1;b 2 3;c 3 0.5;::1 4 1;"},
		{"", ""},
		{"a", "error"}, {"a b", "error"}, {"a 1 2", "error"}, {"a 0", "error"}, {"a 65536", "error"}, {"a 1 * -1", "error"},
		{"a +1", "error"}, {"a 1 *", "error"}, {"a 1 * NaN", "error"}, {"a 1 * Inf", "error"}, {"a 1\nb", "error"},
	} {
		targets, err := parse(c.text)
		got := ""
		for _, target := range targets {
			got += strings.TrimSpace(strings.Join([]string{target.Host, fmt.Sprint(target.Port), fmt.Sprint(target.Weight)}, " ")) + ";"
		}
		if err != nil {
			got = "error"
			if !strings.Contains(err.Error(), "malformed address") {
				t.Errorf("%q: error %v", c.text, err)
			}
		}
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}
