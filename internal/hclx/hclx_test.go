package hclx

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

type rawTest struct {
	Text     Attr       `hcl:"text,optional"`
	Word     Attr       `hcl:"word,optional" default:"one"`
	Flag     Attr       `hcl:"flag,optional" default:"true"`
	Count    Attr       `hcl:"count,optional" default:"3"`
	Share    Attr       `hcl:"share,optional"`
	Wait     Attr       `hcl:"wait,optional" default:"10s"`
	Size     Attr       `hcl:"size,optional" default:"64KiB"`
	List     Attr       `hcl:"list,optional"`
	Map      Attr       `hcl:"map,optional"`
	Addr     Attr       `hcl:"addr,optional"`
	URL      Attr       `hcl:"url,optional"`
	Secret   Attr       `hcl:"secret,optional"`
	SecretIn Attr       `hcl:"secret_in,optional"`
	Needed   Attr       `hcl:"needed,optional"`
	Block    *rawInner  `hcl:"block,block"`
	Many     []rawInner `hcl:"many,block"`
}

type rawInner struct {
	Name  string `hcl:"name,label"`
	Depth Attr   `hcl:"depth,optional" default:"1"`
	Must  Attr   `hcl:"must"`
	Range Range  `hcl:",def_range"`
	Deep  *struct {
		X Attr `hcl:"x,optional" default:"9"`
	} `hcl:"deep,block"`
}

func decode(t *testing.T, text string) (*Decoder, *rawTest) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir) // so that messages have short names
	if err := os.WriteFile("t.hcl", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var raw rawTest
	return Decode([]string{"t.hcl"}, &raw), &raw
}

func TestValues(t *testing.T) {
	t.Setenv("HCLX_PORT", "80")
	t.Setenv("HCLX_EMPTY", "")
	d, raw := decode(t, `
text  = format("%s-%d", lower("ABC"), tonumber(env("HCLX_PORT")))
flag  = env("HCLX_FLAG", "false")
count = env("HCLX_PORT")
share = 0.25
wait  = 0
size  = 4096
list  = split(",", "a,b")
map   = { a = "1", "b c" = env("HCLX_EMPTY") }
addr  = "[::1]:${env("HCLX_PORT")}"
url   = "https://example.com/base//"
secret = trim(" s3cret\n")
block "b" { must = join("/", ["x", "y"]) }
many "m" {
  must = 1
  deep {}
}
`)
	if d.String(raw.Text) != "abc-80" || d.Bool(raw.Flag) || d.Int(raw.Count, 0, 100) != 80 || d.Float(raw.Share, 0, 1) != 0.25 ||
		d.Duration(raw.Wait, 0, Forever) != 0 || d.Size(raw.Size, 0, math.MaxInt64) != 4096 {
		t.Error("a value is wrong")
	}
	if got := d.Strings(raw.List); !slices.Equal(got, []string{"a", "b"}) {
		t.Error(got)
	}
	if got := d.StringMap(raw.Map); len(got) != 2 || got["a"] != "1" || got["b c"] != "" {
		t.Error(got)
	}
	if got := d.Address(raw.Addr); got != "[::1]:80" {
		t.Error(got)
	}
	if got := d.URL(raw.URL); got != "https://example.com/base" {
		t.Error(got)
	}
	secret := d.Secret(raw.Secret, raw.SecretIn)
	if secret.Reveal() != "s3cret" {
		t.Error(secret.Reveal())
	}
	// Defaults, also of blocks inside blocks.
	if d.OneOf(raw.Word, "one", "two") != "one" || d.Int(raw.Many[0].Deep.X, 0, 9) != 9 || d.Int(raw.Block.Depth, 0, 9) != 1 {
		t.Error("a default is wrong")
	}
	if d.String(raw.Block.Must) != "x/y" {
		t.Error("must")
	}
	if d.String(nil) != "" || d.Int(nil, 5, 6) != 0 || d.Bool(nil) || d.Duration(nil, 1, 2) != 0 || d.Path(nil) != nil || d.Dtab(nil) != nil || d.Texts(nil) != nil {
		t.Error("a key that is not there has a value")
	}
	if err := d.Err(); err != nil {
		t.Error(err)
	}
}

func TestOrDefault(t *testing.T) {
	t.Parallel()
	var d Decoder
	if b := OrDefault[rawInner](nil); d.Int(b.Depth, 0, 9) != 1 {
		t.Error(b)
	}
	if b := (&rawInner{}); OrDefault(b) != b {
		t.Error("replaced")
	}
}

func TestWhatIsShown(t *testing.T) {
	long := strings.Repeat("x", 500)
	for _, test := range []struct{ name, text, want string }{
		{"missing key", "block \"b\" {\n}\n", "t.hcl:1:1: must is missing\n  1 | block \"b\" {\n    | ^^^^^^^^^\n    = add must = ..."},
		{"tabs", "block \"b\" {\n\tmust =\t1\n\t\tmsut = 1\n}\n",
			"t.hcl:3:3: unknown key \"msut\" in block \"b\"\n  3 | \t\tmsut = 1\n    | \t\t^^^^\n    = did you mean \"must\"?"},
		{"characters", "text = \"äöü\"\nlist = \"äöü${1+}\"\n", "t.hcl:2:16: invalid expression\n  2 | list = \"äöü${1+}\"\n    |                ^\n" +
			"    = Expected the start of an expression, but found an invalid expression token."},
		{"a long line", "# " + long + "\nnothing = \"" + long + "\"\n", "t.hcl:2:1: unknown key \"nothing\"\n  2 | nothing = \"" + long[:186] + "...\n    | ^^^^^^^\n" +
			"    = keys here: addr, count, flag, list, map, needed, secret, secret_in, share, size, text, url, wait, word; blocks here: block, many"},
		{"windows lines", "x = 1\r\n", "t.hcl:1:1: unknown key \"x\"\n  1 | x = 1\n    | ^\n" +
			"    = keys here: addr, count, flag, list, map, needed, secret, secret_in, share, size, text, url, wait, word; blocks here: block, many"},
		{"a label too many", "block \"a\" \"b\" {\n}\n", "t.hcl:1:11: extraneous label for block\n  1 | block \"a\" \"b\" {\n    |           ^^^\n" +
			"    = Only 1 labels (name) are expected for block blocks."},
		{"nesting", "text = " + strings.Repeat("(", 500), "t.hcl:1:108: too much inside each other"},
		{"password", "admin_password = \"hunter2\"\n", "t.hcl:1:1: unknown key \"admin_password\"\n  1 | admin_password = (secret)\n    | ^^^^^^^^^^^^^^\n" +
			"    = keys here: addr, count, flag, list, map, needed, secret, secret_in, share, size, text, url, wait, word; blocks here: block, many"},
		{"password in a URL", "site = \"http://me:hunter2@127.0.0.1/\"\n", "t.hcl:1:1: unknown key \"site\"\n  1 | site = \"http://(secret)@127.0.0.1/\"\n    | ^^^^\n" +
			"    = did you mean \"size\"?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, _ := decode(t, test.text)
			if err := d.Err(); err == nil || err.Error() != test.want {
				t.Errorf("got\n%v\nwant\n%s", err, test.want)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	d, raw := decode(t, "secret = \"s3cret\" + 1\nwait = \"soon\"\n")
	d.String(raw.Secret)
	d.Duration(raw.Wait, 0, time.Hour)
	got, err := json.Marshal(d.Err())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(got), "s3cret") {
		t.Errorf("shows a secret: %s", got)
	}
	var back struct {
		Problems []Problem `json:"problems"`
	}
	if err := json.Unmarshal(got, &back); err != nil || len(back.Problems) != 2 {
		t.Fatal(err, string(got))
	}
	if p := back.Problems[1]; p.Line != 2 || p.Column != 8 || p.EndColumn != 14 || p.Message != `wait "soon" is no duration` || p.Source != `wait = "soon"` {
		t.Errorf("%+v", p)
	}
}

// A thousand mistakes do not take long, and are not all shown.
func TestManyMistakes(t *testing.T) {
	d, _ := decode(t, strings.Repeat("for ", 20000))
	var e *Error
	err := d.Err()
	if e, _ = err.(*Error); e == nil || len(e.Problems) > maxProblems {
		t.Fatal(err)
	}
}

func TestSecretNeverPrints(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("\n s3cret \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, raw := decode(t, "secret_in = \""+file+"\"\n")
	if s := d.Secret(raw.Secret, raw.SecretIn); s.Reveal() != "s3cret" || d.Err() != nil {
		t.Error(s.Reveal(), d.Err())
	}
	for _, text := range []string{
		"secret = \"s3cret\"\nsecret_in = \"/x\"\n", "secret = [\"s3cret\"]\n", "secret = upper(\"s3cret\")\n", "secret = \"s3cret\n", "secret = \"s3cret\" x\n",
		"secret = <<EOT\ns3cret ${x}\nEOT\n", "secret = \"${nope}s3cret\"\n", "secret = env(\"HCLX_NOPE\", \"s3cret\", \"s3cret\")\n", "secret : \"s3cret\"\n",
	} {
		d, raw := decode(t, text)
		d.Secret(raw.Secret, raw.SecretIn)
		if err := d.Err(); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTopLevel(t *testing.T) {
	decode(t, "text = 1\nblock \"x\" {\n inner {}\n}\nblock \"y\" {}\n")
	if got := TopLevel([]string{"t.hcl", "nowhere.hcl"}); !slices.Equal(got, []string{"block", "block", "text"}) {
		t.Error(got)
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "10": 10, "10B": 10, "2kB": 2000, "2KiB": 2048, "2 KiB": 2048, "3MB": 3e6, "3MiB": 3 << 20, "1GB": 1e9, "1GiB": 1 << 30, "1k": 1024, " 7 ": 7,
		"": -1, "KiB": -1, "-1": -1, "1.5MB": -1, "1TB2": -1, "99999999999GiB": -1, "10 apples": -1,
	} {
		got, ok := parseSize(text)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

func TestSamePort(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "127.0.0.1:81", false},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"127.0.0.1:80", ":80", true},
		{"0.0.0.0:80", "10.0.0.1:80", true},
		{"[::]:80", "127.0.0.1:80", true},
		{"[::1]:80", "127.0.0.1:80", false},
		{"localhost:80", "127.0.0.1:080", true},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{"[::ffff:127.0.0.1]:80", "127.0.0.1:80", true},
		{"Example:80", "example:80", true},
		{"", ":80", false},
	} {
		if got := SamePort(test.a, test.b); got != test.want || SamePort(test.b, test.a) != test.want {
			t.Errorf("%s and %s: %v", test.a, test.b, got)
		}
	}
}

func TestParseDtab(t *testing.T) {
	t.Parallel()
	if d, err := ParseDtab("x", "/a => /b"); err != nil || d.String() != "/a=>/b" {
		t.Error(d, err)
	}
	_, err := ParseDtab("my.dtab", "/a => /b ;\n/ä => /c")
	const want = "my.dtab:2:2: no dtab: '=' expected but 'ä' found\n  2 | /ä => /c\n    |  ^\n    = " + dtabHint
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestCredentialsInURLs: they are refused, and not repeated in the refusal.
func TestCredentialsInURLs(t *testing.T) {
	for _, url := range []string{"http://me:hunter2@127.0.0.1/", "http://me:hunter2%zz@127.0.0.1/", "ftp://hunter2@x"} {
		d, raw := decode(t, fmt.Sprintf("url = %q\nneeded = \"x\"\n", url))
		d.URL(raw.URL)
		if err := d.Err(); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
